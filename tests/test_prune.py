"""Criteria against hand-computed and brute-force answers, the surgery against masking and against torch-pruning."""

import warnings
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from hsilib import WIDTHS, Store, criterion, execute, make_run, methods, parameters, task_of, trained
from hsilib.methods.prune import sfp, thinet
from hsilib.methods.prune.l1 import l1
from hsilib.methods.prune.lots import lots
from hsilib.methods.prune.slimming import slimming
from hsilib.methods.prune.strategies import layer_by_layer, multi_pass, one_shot
from hsilib.methods.prune.surgery import LAYERS, cut, refresh_batch_norm, strongest

from conftest import logits, worn

SMALL = "synthetic_urban_small"


def some(net, widths, seed=0):
    """Channels drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    draws = {layer: torch.randperm(len(getattr(net, layer).bias), generator=generator) for layer in LAYERS}
    return {layer: draw[:width].sort().values for width, (layer, draw) in zip(widths, draws.items())}


def masked(net, keep):
    """The wide network with all other channels silenced behind their activation."""
    net = deepcopy(net)
    with torch.no_grad():
        for name, module in net.named_children():
            layer = {"bn1": "conv1", "bn2": "conv2"}.get(name, name)
            if layer in keep and not isinstance(module, torch.nn.Identity):
                gone = [c for c in range(len(module.bias)) if c not in keep[layer]]
                module.weight[gone], module.bias[gone] = 0, 0
    return net


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("ratio", [90, 95, 98])
def test_the_small_network_equals_the_masked_large_one(ratio, batch_norm):
    net = worn(batch_norm=batch_norm)
    keep = some(net, WIDTHS[ratio])
    small = cut(net, keep)
    assert tuple(small.config["widths"]) == WIDTHS[ratio]
    torch.testing.assert_close(logits(small), logits(masked(net, keep)), atol=2e-5, rtol=1e-5)


def test_parameters_after_surgery_are_the_papers():
    net, wide = worn(), (50, 100, 100)
    assert one_shot(wide, WIDTHS[90]) == [(15, 30, 30)]
    assert layer_by_layer(wide, WIDTHS[90]) == [(15, 100, 100), (15, 30, 100), (15, 30, 30)]
    assert multi_pass(wide, WIDTHS[90]) == [(33, 67, 67), (22, 45, 45), (15, 30, 30)]
    stages = {r: [parameters(cut(net, some(net, w))) for w in layer_by_layer(wide, WIDTHS[r])] for r in (90, 95, 98)}
    assert stages[90] == [304_331, 103_011, 49_321]  # Table 9, strategy II
    assert stages[95] == [286_826, 66_746, 25_386] and stages[98] == [269_321, 32_981, 8_951]


def test_torch_pruning_cuts_the_same_network():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch_pruning as tp
    net = worn(bands=8, classes=4, widths=(6, 8, 10))
    keep = some(net, (3, 4, 5))

    other, logits_of = deepcopy(net), {"output_transform": lambda out: out.logits}
    for layer in LAYERS:
        module = getattr(other, layer)
        cutter = tp.prune_linear_out_channels if layer == "fc1" else tp.prune_conv_out_channels
        graph = tp.DependencyGraph().build_dependency(other, torch.randn(2, 8, 19, 19), **logits_of)
        gone = [c for c in range(len(module.bias)) if c not in keep[layer]]
        graph.get_pruning_group(module, cutter, idxs=gone).prune()
    for (name, mine), theirs in zip(cut(net, keep).state_dict().items(), other.state_dict().values()):
        assert torch.equal(mine, theirs), name


# ------------------------------------------------------------------------------ the criteria


def test_l1_keeps_the_largest_sums_of_absolute_weights_and_slimming_the_largest_scales():
    net = worn(bands=3, classes=2, widths=(4, 3, 3))
    sizes = {net.conv1: [0.1, -0.4, 0.3, 0.2], net.conv2: [-0.3, 0.1, 0.2], net.fc1: [0.2, -0.1, 0.3]}
    with torch.no_grad():
        for layer, values in sizes.items():  # all weights of a filter are the same
            for row, value in zip(layer.weight, values):
                row.fill_(value)
        net.conv1.bias[0] = 100.0  # the bias does not count
        net.bn1.weight.copy_(torch.tensor([0.3, -0.1, 0.0, -0.4]))
        net.bn2.weight.copy_(torch.tensor([0.0, 0.1, -0.2]))
    widths = {"conv1": 2, "conv2": 1, "fc1": 2}
    assert [k.tolist() for k in l1(net, widths).values()] == [[1, 2], [0], [0, 2]]
    assert [k.tolist() for k in slimming(net, widths).values()] == [[0, 3], [2], [0, 2]]  # fc1 has no scales
    assert strongest(torch.tensor([1.0, 1.0, 1.0]), 2).tolist() == [0, 1]  # ties: the first


def test_the_penalty_of_slimming_is_the_l1_norm_of_the_scales():
    task = task_for("cnn2d_sparse", 0, sparsity=1.0)
    net = methods.get("cnn2d_sparse").train(task)
    first, last = task.history
    assert 0.4 * 150 < first["sparsity"] < 0.5 * 150 and last["sparsity"] < first["sparsity"]  # scales start at 0.5
    assert task.notes["scales"]["bn2"] == net.bn2.weight.tolist() and len(task.notes["scales"]["bn1"]) == 50


def test_thinet_contributions_add_up_to_the_next_layers_output():
    net = worn(bands=5, classes=3, widths=(4, 6, 5))
    x = torch.randn(3, 5, 19, 19, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        taps = net(x).taps
        generator = torch.Generator().manual_seed(1)
        rows = thinet.contributions(taps["f1"], net.conv2.weight, 50, generator)
        full = F.conv2d(taps["f1"], net.conv2.weight)  # before bias and batch norm
        generator = torch.Generator().manual_seed(1)
        k, i, j = (torch.randint(n, (150,), generator=generator) for n in (6, 11, 11))
        torch.testing.assert_close(rows.sum(1), full[torch.arange(3).repeat_interleave(50), k, i, j], atol=1e-5, rtol=1e-4)


def test_thinet_chooses_and_rescales_as_brute_force_does():
    parts, mix = torch.randn(46, 6, generator=torch.Generator().manual_seed(9), dtype=torch.double).split([40, 6])
    x = parts @ mix * (torch.arange(6) != 3)  # channel 3 is always silent behind its ReLU
    gone = []
    for _ in range(3):  # the greedy rule, spelled out
        cost = {c: float(x[:, gone + [c]].sum(1).pow(2).sum()) for c in range(6) if c not in gone}
        gone.append(min(cost, key=cost.get))
    gram = x.T @ x
    assert thinet.least(gram, 3) == sorted(gone) and thinet.least(gram, 1) == [3]
    kept = [c for c in range(6) if c not in gone]
    best = torch.linalg.lstsq(x[:, kept], x.sum(1)[:, None]).solution[:, 0]
    torch.testing.assert_close(thinet.scales(gram, kept), best, atol=1e-4, rtol=1e-4)
    assert thinet.scales(gram, [0, 3])[1] == 1


def task_for(name, ratio=90, **options):
    return task_of(make_run(SMALL, "disjoint", name, ratio, epochs=2, options=options))


def test_thinet_drops_the_silent_half():
    """With half of the channels silent, exactly the others are kept, and the network computes what it did."""
    net = masked(worn(classes=9, widths=(8, 8, 8)), dict.fromkeys(LAYERS, [1, 3, 5, 7]))
    task = task_for("thinet")
    same = refresh_batch_norm(deepcopy(net), task.data(net))
    keep = thinet.thinet(net, {"conv1": 4, "conv2": 4, "fc1": 4}, task)
    assert all(k.tolist() == [1, 3, 5, 7] for k in keep.values())
    torch.testing.assert_close(logits(cut(net, keep)), logits(same), atol=1e-3, rtol=1e-3)


def test_zeroed_filters_grow_again_and_may_return():
    task = task_for("sfp", 98)
    net = worn(classes=9, seed=2)
    widths = dict(zip(LAYERS, WIDTHS[98]))
    with torch.no_grad():
        net.bn1.bias.abs_().add_(0.1)  # a zeroed filter sends on its beta; below zero the ReLU would let no gradient back
    start = sfp.zero_weakest(net, widths)
    gone = [c for c in range(50) if c not in start["conv1"]]
    assert int((sfp.norms(net)["conv1"] > 0).sum()) == 5 and not net.conv1.weight[gone].any()
    with torch.no_grad():  # the kept ones are so weak that whatever grows passes them
        net.conv1.weight *= 1e-6
    seen = []
    task.fit(net, after_epoch=lambda m, e: (seen.append(sfp.norms(m)["conv1"].clone()), sfp.zero_weakest(m, widths)))
    assert float(seen[0][gone].min()) > 0  # every zeroed filter was trained
    assert set(sfp.zero_weakest(net, widths)["conv1"].tolist()) != set(start["conv1"].tolist())


@pytest.mark.parametrize("batch_norm", [True, False])
def test_cutting_soft_pruned_filters_is_exact_with_their_constants(batch_norm):
    net = worn(batch_norm=batch_norm)
    keep = sfp.zero_weakest(net, dict(zip(LAYERS, WIDTHS[90])))
    wanted = logits(net)
    without = logits(cut(net, keep))
    sfp.fold_constants(net, keep)
    torch.testing.assert_close(logits(cut(net, keep)), wanted, atol=2e-5, rtol=1e-5)
    assert (without - wanted).abs().max() > 0.01  # the constants are not nothing


# ------------------------------------------------------------------------------ through the study


def test_refreshed_statistics_are_those_of_the_training_pixels():
    task = task_for("l1")
    net = worn(classes=9)
    data = task.data(net)
    refresh_batch_norm(net, data)
    with torch.no_grad():
        first = net.conv1(data.x(torch.arange(len(data.y))))
    torch.testing.assert_close(net.bn1.running_mean, first.mean((0, 2, 3)), atol=2e-2, rtol=2e-2)
    assert net.bn1.momentum == 0.1 and not net.training


def test_a_pruned_run_notes_its_channels_and_its_accuracy_on_the_way(shared):
    store = Store()
    run = make_run(SMALL, "disjoint", "l1_iterative", 95, epochs=2)
    row, net = execute(run, store)
    note = store.read_note(run.id)
    assert [p["widths"] for p in note["passes"]] == [[10, 100, 100], [10, 20, 100], [10, 20, 20]]
    assert [len(k) for k in note["kept"].values()] == [10, 20, 20]
    assert note["passes"][-1]["tuned"] == pytest.approx(row["oa"], abs=1e-3)
    dense = trained(make_run(SMALL, "disjoint", "cnn2d", epochs=2))  # which is not changed
    assert note["kept"]["conv1"] == l1(dense, dict(zip(LAYERS, WIDTHS[95])))["conv1"].tolist()


def test_a_criterion_from_a_notebook_joins_with_one_function(registered):
    @criterion("first_ones", "The first")
    def first_ones(net, widths, task):
        """Keep the first channels."""
        return {layer: torch.arange(widths[layer]) for layer in LAYERS}

    about = methods.get("first_ones")
    assert about.family == "pruning" and about.about == "Keep the first channels." and str(about.version).startswith("1-")
    assert execute(make_run(SMALL, "disjoint", "first_ones", 98, epochs=1), Store())[0]["params"] == 8_874


def test_lots_differ_between_seeds_and_keep_as_many_as_asked():
    tasks = [task_of(make_run(SMALL, "disjoint", "lots", 98, seed=seed)) for seed in (0, 0, 1)]
    kept = [lots(worn(classes=9), dict(zip(LAYERS, WIDTHS[98])), task) for task in tasks]
    assert all(torch.equal(kept[0][layer], kept[1][layer]) for layer in kept[0])
    assert not torch.equal(kept[0]["conv2"], kept[2]["conv2"])
    assert [len(set(v.tolist())) for v in kept[0].values()] == [5, 10, 10] and max(kept[0]["conv1"]) < 50
