"""A CNN2D with its principal components as its first layer, which can then be rounded like all others.

A standardised band is z = (x - mean) / spread and a component p = (x - mean) @ weight, so that
p = z @ (spread weight): a 1 x 1 convolution without bias, for which zeros outside of the scene stay zeros;
methods A.2 and J.
"""

import torch
import torch.nn.functional as F
from torch import nn

from hsilib.data.inputs import MARGIN
from hsilib.errors import HsiError
from hsilib.methods.compact.lens import Projecting, Spread
from hsilib.methods.quantize.modes import original
from hsilib.methods.registry import method
from hsilib.models.networks import CNN2D, Outputs, stored


@stored
class Projected(Projecting):
    """CNN2D behind the projection to its components; its linear layers are written as convolutions."""

    def __init__(self, bands, classes, components, widths):
        super().__init__()
        self.config = dict(bands=bands, classes=classes, components=components, widths=list(widths))
        c1, c2, f1 = widths
        self.project = nn.Conv2d(bands, components, 1, bias=False)
        self.conv1, self.conv2 = nn.Conv2d(components, c1, 5), nn.Conv2d(c1, c2, 5)
        self.bn1, self.bn2 = nn.BatchNorm2d(c1), nn.BatchNorm2d(c2)
        self.fc1, self.fc2 = Spread(c2, f1, 5), nn.Conv2d(f1, classes, 1)

    def maps(self, p, spread):
        """Components (B, c, h, w) -> scores (B, K, h - 18, w - 18) or one row and column more."""
        f = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(p))))))
        f = F.max_pool2d(f, 2, 3 - spread)
        return self.fc2(F.relu(self.fc1(f, spread)))

    def after(self, x):
        return Outputs(self.maps(x, 1)[:, :, 0, 0], {})

    def dense(self, image):
        """Return the logits (K, H, W) of every pixel of a padded image (1, C, H+18, W+18)."""
        h, w = (side - 2 * MARGIN for side in image.shape[2:])
        return self.maps(self.project(image), 2)[0, :, :h, :w]


@torch.no_grad()
def projected(net, patches, windows):
    """Put the components that made ``patches`` of the bands that ``windows`` hold into a layer."""
    (mean, weight, shift), (centre, spread) = patches.reduction, windows.reduction
    if type(net) is not CNN2D or not net.config["batch_norm"]:
        raise HsiError(f"the components of a CNN2D become a layer, not of {type(net).__name__}")
    if abs(shift).max() > 1e-2 or abs((mean - centre) / spread).max() > 1e-2:
        raise HsiError("components become a layer only if they were found on all pixels: pca_fit scene")
    sizes = {key: net.config[key] for key in ("classes", "widths")}
    made = Projected(len(spread), components=net.config["bands"], **sizes).to(patches.pixels.device)
    layer = torch.from_numpy((weight * spread[:, None]).T.copy())
    state = made.state_dict() | net.state_dict() | {"project.weight": layer}
    made.load_state_dict({key: state[key].view_as(value) for key, value in made.state_dict().items()})
    return made.eval()


@method("projected", "controls", "From raw bands", mark="grey v", sees="patches", ratios=(0, 90, 95, 98),
        parents=lambda run: (original(run),), of="scratch_aug")
def from_raw_bands(task):
    """A trained network and its principal components as one; nothing is trained."""
    return projected(task.parent(original(task.run)), task.inputs("patches"), task.inputs("windows"))
