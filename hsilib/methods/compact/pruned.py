"""A wide Lens cut to a narrow one: is it better than a narrow one trained from scratch?

Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017 (L1-norm); He et al., Soft Filter Pruning for
Accelerating Deep Convolutional Neural Networks, IJCAI 2018; methods C.2 and C.6.
"""

import torch

from hsilib.methods.compact.compact import RECIPE, Look
from hsilib.methods.compact.lens import Lens
from hsilib.methods.registry import dense, method

# the layers that make channels: of the projection, behind each separable convolution, and of the centre
MAKERS = ("project", "first.point", "second.point", "spot")


def strongest(net, width, norm):
    """Return {layer: numbers of its ``width`` filters of largest norm}."""
    sizes = {name: net.get_submodule(name).weight.detach().flatten(1).norm(norm, 1) for name in MAKERS}
    return {name: size.topk(width).indices.sort().values for name, size in sizes.items()}


@torch.no_grad()
def cut(net, keep):
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
def zero_weakest(net, width):
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
        o, net = task.options, task.parent(dense(task.run, "lens_20k"))
        look = Look(task, net)
        if "soft" in options:
            zero_weakest(net, o.width)
            look.fit(net, o.soft, o.rate, after_epoch=lambda model, _: zero_weakest(model, o.width))
        small = cut(net, strongest(net, o.width, 2 if "soft" in options else 1))
        return look.fit(small, 1.0, o.rate)

    words = dict(sees="patches", recipe=RECIPE, mark=mark, parents=lambda run: (dense(run, "lens_20k"),))
    method(name, "compact", title, **words, width=22, rate=1.0, augment="dihedral", **options)(train)


pruned("lens_l1", "Lens, cut by L1-norm", "red x")
pruned("lens_sfp", "Lens, cut softly", "pink x", soft=1 / 3)
