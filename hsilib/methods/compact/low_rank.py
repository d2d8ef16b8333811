"""Low rank: one linear layer becomes two smaller ones, the nearest of that rank, which are then tuned.

Denton et al., Exploiting Linear Structure Within Convolutional Networks for Efficient Evaluation, NIPS 2014;
methods J.
"""

import torch
from torch import nn

from hsilib.errors import HsiError
from hsilib.methods.registry import dense, method
from hsilib.models.networks import Around


class LowRank(Around):
    """A network one of whose linear layers is the product of two."""

    def __init__(self, net, config, layer, rank):
        super().__init__(net, config)
        self.config = dict(net=net, config=config, layer=layer, rank=rank)
        whole = getattr(self.net, layer, None)
        if not isinstance(whole, nn.Linear):
            names = ", ".join(name for name, m in self.net.named_children() if isinstance(m, nn.Linear))
            raise HsiError(f"{net} has no linear layer {layer!r}; it has {names or 'none'}")
        most = min(whole.weight.shape)
        if not 1 <= rank <= most:
            raise HsiError(f"rank must lie between 1 and {most}, not {rank}")
        pair = nn.Linear(whole.in_features, rank, bias=False), nn.Linear(rank, whole.out_features)
        pair[0].bare = True  # neither a bias nor batch norm
        setattr(self.net, layer, nn.Sequential(*pair))


@torch.no_grad()
def factored(net, layer, rank):
    """Build the nearest network of this rank: W = U S V', of which the largest ``rank`` values stay."""
    made = LowRank(type(net).__name__, net.config, layer, rank)
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    weight, bias = (state.pop(f"net.{layer}.{part}") for part in ("weight", "bias"))
    u, s, v = torch.linalg.svd(weight, full_matrices=False)
    root = s[:rank].sqrt()
    parts = {"0.weight": root[:, None] * v[:rank], "1.weight": u[:, :rank] * root, "1.bias": bias}
    made.load_state_dict(state | {f"net.{layer}.{part}": value for part, value in parts.items()})
    return made.eval()


def original(run):
    """Return the run whose network is factored."""
    return dense(run, dict(run.options)["of"])


@method("low_rank", "compact", "Low rank", mark="green P", parents=lambda run: (original(run),), of="cnn1d",
        layer="fc1", rank=6, share=1 / 3, rate=0.1)
def low_rank(task):
    """A layer is cut to its largest singular values, then all layers are trained on."""
    o = task.options
    net = factored(task.parent(original(task.run)), o.layer, o.rank).to(task.device)
    return task.fit(net, o.share, o.rate)
