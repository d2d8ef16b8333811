"""A wide Lens cut to a narrow one: is it better than a narrow one trained from scratch?

Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017 (L1-norm); He et al., Soft Filter Pruning for
Accelerating Deep Convolutional Neural Networks, IJCAI 2018; methods C.2 and C.6.
"""

import torch

from hsilib.identity import Run
from hsilib.methods.compact.compact import RECIPE, Look
from hsilib.methods.compact.lens import Lens
from hsilib.methods.registry import dense, method
from hsilib.models.train import on_labels

# the layers that make channels: of the projection, behind each separable convolution, and of the centre
MAKERS = ("project", "first.point", "second.point", "spot")
Kept = dict[str, torch.Tensor]


def strongest(net: Lens, width: int, norm: int) -> Kept:
    """Return {layer: numbers of its ``width`` filters of largest norm}."""
    sizes = {name: net.get_submodule(name).weight.detach().flatten(1).norm(norm, 1) for name in MAKERS}
    return {name: size.topk(width).indices.sort().values for name, size in sizes.items()}


@torch.no_grad()
def cut(net: Lens, keep: Kept) -> Lens:
    """Return the network of these channels alone."""
    p, a, b, c = (keep[name] for name in MAKERS)
    wide = net.config["width"]
    head = torch.cat([b, wide + b, 2 * wide + c])  # means, maxima, centre
    rows = {"project": p, "bn": p, "first.depth": p, "first.bn1": p, "first.point": a, "first.bn2": a}
    rows |= {"second.depth": a, "second.bn1": a, "second.point": b, "second.bn2": b, "third": b, "bn3": b}
    rows |= {"spot": c, "bn_spot": c}
    columns = {"first.point.weight": p, "second.point.weight": a, "spot.weight": p, "head.weight": head}
    small = Lens(**net.config | {"width": len(p), "centre": len(c)}).to(p.device)
    state = {}
    for name, value in net.state_dict().items():
        layer = name.rpartition(".")[0]
        value = value[rows[layer]] if layer in rows and value.ndim else value
        state[name] = value[:, columns[name]] if name in columns else value
    small.load_state_dict(state)
    return small.eval()


@torch.no_grad()
def zero_weakest(net: Lens, width: int) -> None:
    """Zero all but the ``width`` filters of largest L2 norm of every layer that makes channels."""
    for name, keep in strongest(net, width, 2).items():
        weight = net.get_submodule(name).weight
        stays = torch.zeros(len(weight), dtype=torch.bool, device=weight.device)
        stays[keep] = True
        weight[~stays] = 0


def pruned(name: str, title: str, mark: str, **options) -> None:
    """Register a way to cut the Lens of 20 kB to that of 10 kB, which is then trained as long as that."""

    def train(task):
        """The filters of least norm go, then the network is trained on for as long as one from scratch."""
        o, net = task.options, task.parent(original(task.run))
        look = Look(task, net)

        def loss(model, batch):
            return {"ce": on_labels(look(model, batch), batch.y)}

        def fit(model, share, after=None):
            words = dict(data=look.data, augment=look.draw, loss=loss, after_epoch=after)
            return task.fit(model, share, o.rate, **words)

        if "soft" in options:
            zero_weakest(net, o.width)
            fit(net, o.soft, lambda model, _: zero_weakest(model, o.width))
        small = cut(net, strongest(net, o.width, 2 if "soft" in options else 1))
        return fit(small, 1.0)

    words = dict(sees="patches", recipe=RECIPE, mark=mark, parents=lambda run: (original(run),))
    method(name, "compact", title, **words, width=22, rate=1.0, augment="dihedral", **options)(train)


def original(run: Run) -> Run:
    """Return the run whose network is cut."""
    return dense(run, "lens_20k")


pruned("lens_l1", "Lens, cut by L1-norm", "red x")
pruned("lens_sfp", "Lens, cut softly", "pink x", soft=1 / 3)
