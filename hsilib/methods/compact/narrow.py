"""Lenses that look at less: windows of 13 or 9 instead of 19, and one without its layer on the centre.

A narrow window holds fewer training pixels, so it leaks less; methods J.
"""

import torch
import torch.nn.functional as F

from hsilib.data.inputs import MARGIN, middle
from hsilib.methods.compact.compact import network
from hsilib.methods.compact.lens import Lens, Separable
from hsilib.methods.compact.taught import taught

# as many bytes as Lens, all of them in its depthwise separable convolutions
network("separable", "Separable", family="rivals", mark="pink s", width=24, centre=0)(Lens)


@network("lens_13", "Lens, window of 13", family="rivals", mark="pink v", window=13)
@network("lens_9", "Lens, window of 9", family="rivals", mark="pink X", window=9)
class NarrowLens(Lens):
    """As Lens, on the middle of the window: of 13 it has a layer less, of 9 it does not pool."""

    def __init__(self, bands, classes, window=9, width=22, centre=22):
        super().__init__(bands, classes, width, centre)
        self.config = dict(bands=bands, classes=classes, window=window, width=width, centre=centre)
        self.window, self.first = window, Separable(width, width, 3)
        if window == 13:
            del self.third, self.bn3
        self.to(memory_format=torch.channels_last)

    def around(self, p, spread):
        if self.window == 13:
            return self.second(F.max_pool2d(self.first(p), 2, 3 - spread), spread), spread
        return F.relu(self.bn3(self.third(self.second(self.first(p))))), 1

    def after(self, x):
        return super().after(middle(x, self.window))

    def dense(self, image):
        edge = MARGIN - self.window // 2
        return super().dense(image[:, :, edge:-edge, edge:-edge])


taught("lens_9", "orange X")
taught("lens_13", "orange v")
taught("separable", "orange s")
