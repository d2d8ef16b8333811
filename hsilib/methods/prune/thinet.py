"""ThiNet: drop the channels whose joint contribution to the next layer is least, and rescale those that stay.

Luo, Wu, Lin, ThiNet: A Filter Level Pruning Method for Deep Neural Network Compression, ICCV 2017;
methods C.4.
"""

import torch

from hsilib.methods.prune.criterion import criterion
from hsilib.methods.prune.surgery import LAYERS, refresh_batch_norm


def contributions(maps, weight, draws, generator):
    """Return what each input channel adds to an output k at a place (i, j), both drawn at random.

    x_nc = sum_uv W[k,c,u,v] A[c,i+u,j+v]: maps (N, C, H, W), weight (K, C, h, w) -> (N * draws, C)
    """
    windows = maps.unfold(2, weight.shape[2], 1).unfold(3, weight.shape[3], 1)  # (N, C, H-h+1, W-w+1, h, w)
    sample = torch.arange(len(maps)).repeat_interleave(draws)
    sizes = (len(weight), *windows.shape[2:4])
    k, i, j = (torch.randint(size, (len(sample),), generator=generator) for size in sizes)
    return (windows[sample, :, i, j] * weight[k]).sum((2, 3))


def least(gram, count):
    """Grow, one by one, the set T of ``count`` channels that keeps sum_n (sum_{c in T} x_nc)^2 smallest."""
    # the cost of T + {c}, but for a constant: |x_c|^2 + 2 x_c . sum_{j in T} x_j
    cost, chosen = gram.diagonal().clone(), []
    for _ in range(count):
        chosen.append(int(cost.argmin()))
        cost += 2 * gram[chosen[-1]]
        cost[chosen[-1]] = torch.inf
    return sorted(chosen)


def scales(gram, kept, ridge=1e-6):
    """Return the factors of the channels that stay, by least squares; a channel that is always zero keeps 1.

    w = argmin sum_n (y_n - sum_{c in S} w_c x_nc)^2 with y_n = sum_c x_nc
    """
    part = gram[kept][:, kept]
    damping = ridge * part.diagonal().mean() * torch.eye(len(part), dtype=part.dtype)
    w = torch.linalg.solve(part + damping, gram[kept].sum(1))
    return torch.where(part.diagonal() > 0, w, 1.0)


@criterion("thinet", "ThiNet", mark="orange s", paper="ThiNet", images=1000, draws=10)
@torch.no_grad()
def thinet(net, widths, task):
    """Keep the channels that, rescaled by least squares, best rebuild the next layer's input on training
    images."""
    generator = torch.Generator().manual_seed(task.seed("thinet"))
    x = task.balanced(net, task.options.images, generator)
    keep = {layer: torch.arange(len(getattr(net, layer).bias)) for layer in LAYERS}
    for layer in LAYERS:  # each on the activations of the network that is pruned up to here
        if widths[layer] == len(keep[layer]):
            continue
        taps = net(x).taps
        maps, weight = {  # what the next layer is given, and its weights, as views to be changed below
            "conv1": (taps["f1"], net.conv2.weight),
            "conv2": (taps["p2"], net.fc1.weight.view(len(net.fc1.weight), -1, 5, 5)),
            "fc1": (taps["e"][:, :, None, None], net.fc2.weight[:, :, None, None]),
        }[layer]
        rows = contributions(maps.cpu(), weight.cpu(), task.options.draws, generator).double()
        gram = rows.T @ rows
        gone = least(gram, weight.shape[1] - widths[layer])
        keep[layer] = torch.tensor([c for c in range(weight.shape[1]) if c not in gone])
        weight[:, gone] = 0  # the channel is as good as cut
        weight[:, keep[layer]] *= scales(gram, keep[layer])[:, None, None].to(weight)
        refresh_batch_norm(net, task.data(net))  # its statistics after conv2 have changed
    return keep
