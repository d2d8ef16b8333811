"""L1-norm: filters with small weights matter little.

Li, Kadav, Durdanovic, Samet, Graf, Pruning Filters for Efficient ConvNets, ICLR 2017; methods C.3.
"""

from hsilib.methods.prune.criterion import criterion
from hsilib.methods.prune.strategies import layer_by_layer, multi_pass
from hsilib.methods.prune.surgery import LAYERS, strongest


def l1(net, widths, task=None):
    """Keep the filters (rows of fc1) with the largest sum of absolute weights, each layer on its own."""
    # s_j = sum |W_j| over input channels and window; bias and batch norm are not looked at
    scores = {layer: getattr(net, layer).weight.detach().abs().flatten(1).sum(1) for layer in LAYERS}
    if task:
        shown = {layer: [round(v, 3) for v in score.tolist()] for layer, score in scores.items()}
        task.notes.setdefault("scores", shown)  # those of the first pass
    return {layer: strongest(scores[layer], widths[layer]) for layer in LAYERS}


criterion("l1", "L1-norm", mark="blue o", paper="L1-norm pruning")(l1)

# the strategies share one budget: II and III give each of their three passes a third of it
THIRD = dict(family="strategies", paper="L1-norm pruning", finetune=1 / 3)
criterion("l1_short", "L1-norm, a third of the tuning", mark="sky D", **THIRD)(l1)
criterion("l1_iterative", "L1-norm, layer by layer", mark="blue ^", strategy=layer_by_layer, **THIRD)(l1)
criterion("l1_multipass", "L1-norm, three passes", mark="sky v", strategy=multi_pass, **THIRD)(l1)
