"""The arithmetic against numbers worked out by hand and against torch's own, the integer network against the 32-bit one."""

from importlib.util import find_spec

import pytest
import torch
import torch.nn.functional as F
from bench import torch_ao
from hsilib import MLP, HsiError, Store, bytes_on_disk, execute, make_run, parameters, plan, task_of, trained
from hsilib.identity import parents
from hsilib.methods.quantize.arithmetic import Grid, affine, fake_quantize, histogram, minmax, symmetric
from hsilib.methods.quantize.integer import LAYERS, calibrate, convert, fold_batch_norm
from hsilib.methods.quantize.qat import QAT
from hsilib.models.evaluate import pixel_scores, scene_scores

from conftest import logits, worn

SMALL = "synthetic_urban_small"


def test_affine_grid_by_hand():
    grid = affine(-1.0, 3.0)  # S = 4/255, Z = 0 - round(-1/S) = 64
    assert float(grid.scale) == pytest.approx(4 / 255) and float(grid.zero) == 64
    assert grid.quantize(torch.tensor([-9.0, -1.0, 0.0, 1.0, 3.0, 9.0])).tolist() == [0, 0, 64, 128, 255, 255]
    assert float(grid.dequantize(torch.tensor(64.0))) == 0  # zero is exact
    only_positive = affine(2.0, 6.0)  # the range is made to contain zero
    assert float(only_positive.zero) == 0 and float(only_positive.scale) == pytest.approx(6 / 255)
    assert float(affine(0.0, 0.0).scale) == torch.finfo(torch.float32).eps
    one = Grid(torch.tensor(1.0), torch.tensor(0.0))
    assert one.quantize(torch.tensor([0.5, 1.5, 2.5])).tolist() == [0, 2, 2]  # half to even


def test_straight_through_gradient_stops_at_the_ends():
    grid = affine(-1.0, 1.0)
    x = torch.tensor([-2.0, -0.5, 0.0, 0.9, 2.0], requires_grad=True)
    y = fake_quantize(x, grid)
    y.sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]
    torch.testing.assert_close(y.detach(), grid.dequantize(grid.quantize(x.detach())))


def test_histogram_clips_an_outlier_and_leaves_a_uniform_range():
    x = torch.cat([torch.rand(100_000, generator=torch.Generator().manual_seed(0)), torch.tensor([50.0])])
    low, high = histogram(x)
    grids = [affine(*ends) for ends in (minmax(x), (low, high))]
    errors = [float((x - g.dequantize(g.quantize(x))).square().sum()) for g in grids]
    assert float(high) < 50 and errors[1] < errors[0]
    low, high = histogram(torch.linspace(-1, 1, 10_001))
    assert float(low) == pytest.approx(-1, abs=0.05) and float(high) == pytest.approx(1, abs=0.05)
    assert [float(v) for v in histogram(torch.zeros(5))] == [0, 0]


@pytest.mark.parametrize("batch_norm", [True, False])
def test_folding_batch_norm_changes_nothing(batch_norm):
    net = worn(batch_norm=batch_norm)
    folded = fold_batch_norm(net)
    assert not folded.config["batch_norm"]
    torch.testing.assert_close(logits(folded), logits(net), atol=2e-5, rtol=1e-5)


def integers(net, grids, x):
    """Logits of the integer network, spelled out layer by layer with torch's integer arithmetic."""
    for number, name in enumerate(LAYERS):
        layer, grid = getattr(net, name), grids[number]
        weight_grid = symmetric(layer.weight)
        q = (grid.quantize(x) - grid.zero).to(torch.int64)
        w = weight_grid.quantize(layer.weight).to(torch.int64)
        step = (grid.scale * weight_grid.scale).flatten()
        bias = torch.round(layer.bias / step).to(torch.int64)
        if w.ndim == 4:
            windows = F.unfold(q.double(), 5).to(torch.int64)
            total = torch.einsum("ok,bkl->bol", w.flatten(1), windows).unflatten(2, [q.shape[2] - 4] * 2) + bias[:, None, None]
            x = total * step[:, None, None]
        else:
            x = (torch.flatten(q, 1) @ w.T + bias) * step
        x = F.relu(x) if name != "fc2" else x
        x = F.max_pool2d(x, 2) if name == "conv2" else x
    return x


def test_the_integer_network_is_exact_integer_arithmetic():
    net = worn(batch_norm=False)
    x = torch.randn(6, 40, 19, 19, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        grids = calibrate(net, x)
        small = convert(net, grids)
        torch.testing.assert_close(small(x).logits, integers(net, grids, x), atol=1e-5, rtol=1e-6)
        exact = net(x).logits
        assert (small(x).logits - exact).abs().max() < 0.05 * exact.abs().max()  # and near the network it stands for
    assert small.conv1.weight.dtype == torch.int8 and small.conv1.scale.shape == (50, 1, 1, 1)


def test_the_integer_network_runs_over_a_scene_as_over_patches(monkeypatch):
    monkeypatch.setattr("hsilib.models.evaluate.STRIP", 20)  # strips do not show, nor do they where a range is found at each call
    task, net = task_of(make_run(SMALL, "random", "cnn2d")), fold_batch_norm(worn(classes=9))
    inputs, some = task.inputs("patches"), torch.tensor([0, 47, 700, 3071])
    small = convert(net, calibrate(net, task.balanced(net, 50, torch.Generator().manual_seed(0))))
    assert abs(scene_scores(small, inputs)[some] - pixel_scores(small, inputs, some)).max() < 1e-4
    dynamic = convert(net)
    whole = dynamic.dense(inputs.padded.permute(2, 0, 1)[None]).flatten(1).T
    assert torch.equal(torch.from_numpy(scene_scores(dynamic, inputs)), whole)


def test_sizes_are_those_of_eight_bits():
    net = worn(batch_norm=False)
    static, dynamic = convert(net, calibrate(net, torch.randn(4, 40, 19, 19))), convert(net)
    assert parameters(static) == parameters(dynamic) == 426_866
    assert 426_600 < bytes_on_disk(static) < 0.44e6 and 0.95e6 < bytes_on_disk(dynamic) < 0.96e6


def test_ranges_move_by_a_constant_until_they_are_frozen_and_statistics_are_frozen_before():
    qat = QAT(worn(classes=9, widths=(6, 8, 10))).train()
    observer = qat.ranges[0]
    for low, high in ((-1.0, 1.0), (-2.0, 3.0)):
        observer(torch.tensor([low, high]))
    for done, norms, frozen in ((0.4, True, False), (0.5, False, False), (0.7, False, True)):
        qat.freeze(done)
        assert (qat.net.bn1.training, observer.frozen) == (norms, frozen)
    observer(torch.tensor([-9.0, 9.0]))
    assert observer.range.tolist() == pytest.approx([-1.01, 1.02])


def test_modes_take_the_dense_net_or_a_pruned_one_and_say_what_is_wrong(shared):
    runs = plan(SMALL, ["disjoint"], ["static", "qat", "dynamic"], (0, 98), seeds=1, epochs=2)
    assert {parents(r)[0].method for r in runs if not r.ratio} == {"cnn2d"}
    assert {(p.method, p.ratio) for r in runs if r.ratio for p in parents(r)} == {("l1", 98)}
    for of in ("soft_targets", "scratch_b", "l1_multipass"):  # the very runs of other chapters, with their share of the epochs
        mine = make_run(SMALL, "disjoint", "static", 98, epochs=4, options={"of": of})
        assert parents(mine)[0].id == make_run(SMALL, "disjoint", of, 98, epochs=4).id
    none = "has no network of the 98 % size"
    for ratio, of, says in ((98, "mlp", none), (98, "qat", none), (0, "soft_targets", "chooses among the small networks")):
        with pytest.raises(HsiError, match=says):
            parents(make_run(SMALL, "disjoint", "static", ratio, epochs=2, options={"of": of}))
    with pytest.raises(HsiError, match="only networks of CNN2D's shape can be quantized, not MLP"):
        fold_batch_norm(MLP(40, 9))
    row, net = execute(runs[1], Store())
    wide = fold_batch_norm(trained(parents(runs[1])[0])).conv1.weight
    assert row["bytes"] < 12_000 and torch.equal(trained(runs[1]).conv1.weight, net.conv1.weight)
    assert (net.conv1.weight * net.conv1.scale - wide).abs().max() <= net.conv1.scale.max() / 2 + 1e-6


needs_ao = pytest.mark.skipif(not find_spec("torch.ao.quantization"), reason="this torch has no integers of its own")


@needs_ao
def test_torch_computes_the_same_integers():
    net = worn(batch_norm=False)
    x = torch.randn(60, 40, 19, 19, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        grids = calibrate(net, x)
        theirs, ours = torch_ao.static(net, x, grids), convert(net, grids)(x).logits
        q = theirs.quant(x)
        mine = grids[1].quantize(F.relu(convert(net, grids).conv1(x)))
        for result, wanted in ((q, grids[0].quantize(x)), (theirs.conv1(q), mine)):  # ties may fall on either side
            gap = (result.int_repr().float() - wanted).abs()
            assert gap.max() <= 1 and (gap > 0).float().mean() < 0.01
        apart = (theirs(x) - ours).abs().max()
    assert apart < 2 * float(theirs.fc2.scale)  # torch rounds the scores to 8 bits as well


@needs_ao
def test_files_of_torch_have_the_sizes_the_paper_prints():
    net = worn(batch_norm=False)
    made = [torch_ao.plain(net), torch_ao.dynamic(net), torch_ao.static(net, torch.randn(8, 40, 19, 19))]
    assert [round(torch_ao.bytes_of(m) / 1e6, 2) for m in made] == [1.71, 0.96, 0.44]
