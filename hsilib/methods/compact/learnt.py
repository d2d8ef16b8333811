"""The rivals of Lens among the paper's networks: CNN2D, dense and small, on a projection that learns along.

It is the layer with which a Lens begins, from raw bands, and starts at the whitened principal components; all
behind it is CNN2D; methods J.
"""

import torch

from hsilib.methods.compact.compact import network
from hsilib.methods.compact.lens import Lens
from hsilib.methods.compact.projected import Projected
from hsilib.methods.compact.taught import taught
from hsilib.models.networks import WIDTHS


@network("cnn2d_learnt_98", "98 %, learnt bands", family="rivals", mark="blue v", cut=98, learnt=True)
@network("cnn2d_learnt_95", "95 %, learnt bands", family="rivals", mark="blue ^", cut=95, learnt=True)
@network("cnn2d_learnt_90", "90 %, learnt bands", family="rivals", mark="blue s", cut=90, learnt=True)
@network("cnn2d_learnt", "CNN2D, learnt bands", family="rivals", mark="blue o", cut=0, learnt=True)
class LearntCNN2D(Projected):
    """CNN2D on 40 channels that a layer makes of the bands and learns along."""

    start = Lens.start

    def __init__(self, bands, classes, cut=0, learnt=True):
        super().__init__(bands, classes, 40, WIDTHS[cut])
        self.config = dict(bands=bands, classes=classes, cut=cut, learnt=learnt)
        self.project.requires_grad_(learnt)
        self.to(memory_format=torch.channels_last)


taught("cnn2d_learnt", "sky o")
taught("cnn2d_learnt_90", "sky D")
taught("cnn2d_learnt_95", "sky X")
taught("cnn2d_learnt_98", "sky P")
