"""The rivals of Lens among the paper's networks: CNN2D, dense and small, on a projection that learns along.

It is the layer with which a Lens begins, from raw bands, and starts at the whitened principal components; all
behind it is CNN2D; methods J.
"""

import torch

from hsilib.methods.compact.compact import network
from hsilib.methods.compact.lens import whitened
from hsilib.methods.compact.projected import Projected
from hsilib.methods.compact.taught import ENSEMBLE, taught
from hsilib.methods.registry import get
from hsilib.models.networks import WIDTHS, Outputs


@network("cnn2d_learnt_98", "98 %, learnt bands", family="rivals", mark="blue v", cut=98, learnt=True)
@network("cnn2d_learnt_95", "95 %, learnt bands", family="rivals", mark="blue ^", cut=95, learnt=True)
@network("cnn2d_learnt_90", "90 %, learnt bands", family="rivals", mark="blue s", cut=90, learnt=True)
@network("cnn2d_learnt", "CNN2D, learnt bands", family="rivals", mark="blue o", cut=0, learnt=True)
class LearntCNN2D(Projected):
    """CNN2D on 40 channels that a layer makes of the bands and learns along."""

    def __init__(self, bands: int, classes: int, cut: int = 0, learnt: bool = True) -> None:
        super().__init__(bands, classes, 40, WIDTHS[cut])
        self.config = dict(bands=bands, classes=classes, cut=cut, learnt=learnt)
        self.project.requires_grad_(learnt)
        self.to(memory_format=torch.channels_last)

    @torch.no_grad()
    def start(self, spectra: torch.Tensor) -> None:
        """Begin with the whitened principal components; more channels than bands keep random weights."""
        weight = whitened(spectra, len(self.project.weight))
        self.project.weight[: len(weight)] = weight[..., None, None].to(self.project.weight.device)

    def forward(self, x: torch.Tensor) -> Outputs:
        """Classify windows (B, bands, 19, 19)."""
        return self.after(self.project(x))

    def after(self, x: torch.Tensor) -> Outputs:
        """Do all that follows the projection."""
        return Outputs(self.maps(x, 1)[:, :, 0, 0], {})


for cut, mark in zip((0, 90, 95, 98), "oDXP"):
    end = f"_{cut}" * (cut > 0)
    of = f"cnn2d_learnt{end}"
    taught(f"{of}_taught", f"{get(of).title}, taught", of, mark=f"sky {mark}", **ENSEMBLE)
