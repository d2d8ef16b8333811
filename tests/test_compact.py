"""Networks small by design: the contract that a network keeps, whole numbers, teachers, low rank."""

import numpy as np
import pytest
import torch
from hsilib import HsiError, Lens, Store, load_scene, make_inputs, make_run, methods, parameters
from hsilib.identity import Recipe, parents
from hsilib.methods.compact import low_rank, pruned, taught
from hsilib.methods.compact.compact import Look, check, network
from hsilib.methods.compact.ghost import GhostLens
from hsilib.methods.compact.projected import projected
from hsilib.methods.compact.spectral import LiuNet, Perceptron
from hsilib.methods.compact.taught import answers
from hsilib.methods.quantize import layers
from hsilib.methods.quantize.qat import QAT, Aware
from hsilib.models.evaluate import pixel_scores, scene_scores
from hsilib.models.networks import CNN1D, Outputs, initialise
from hsilib.models.train import Batch, turned_by
from hsilib.study.execute import execute, task_of, trained, weights_path
from torch import nn

from conftest import after_training, worn

SMALL = "synthetic_urban_small"


def test_the_projection_starts_at_whitened_components():
    spectra = torch.randn(500, 10, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.arange(1.0, 11))
    net = Lens(10, 3, width=4)
    net.start(spectra)
    out = (spectra - spectra.mean(0)) @ net.project.weight.flatten(1).T
    assert torch.allclose(out.T @ out / 499, torch.eye(4), atol=1e-4)
    wide = initialise(Lens(10, 3, width=14), 0)
    before = wide.project.weight.detach().clone()
    wide.start(spectra)
    assert torch.equal(before[10:], wide.project.weight[10:]) and not torch.equal(before[:10], wide.project.weight[:10])


class Mine(nn.Module):
    """A network of one's own."""

    kind = "windows"

    def __init__(self, bands, classes, width=3):
        super().__init__()
        self.config = dict(bands=bands, classes=classes, width=width)
        self.mix, self.out = nn.Conv2d(bands, width, 1), nn.Linear(width, classes)

    def forward(self, x):
        e = self.mix(x).relu()[:, :, 9, 9]
        return Outputs(self.out(e), {"e": e})


def test_a_network_of_ones_own_is_trained_stored_and_loaded_by_being_registered(registered, tmp_path):
    network("mine", "Mine", width=4)(Mine)
    run, store = make_run(SMALL, "disjoint", "mine", epochs=1, options={"width": 5}), Store(tmp_path / "store")
    net = trained(run, store)
    assert weights_path(run).is_file() and store.rows()["options"].tolist() == ["width=5"]
    again = trained(run, store)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values()))
    assert methods.get("mine").lacks(103, of_spectra=True) and not methods.get("liunet").lacks(103, of_spectra=True)
    assert "it needs 91 bands" in methods.get("liunet").lacks(9, of_spectra=False)


def changed(**parts):
    return type("Mine", (Mine,), parts)


@pytest.mark.parametrize(
    "net, says",
    [
        (changed(kind="spectrum"), "unknown kind of Mine 'spectrum'"),
        (changed(__init__=lambda self, bands, classes: None), "cannot be built from bands, classes, width: TypeError"),
        (changed(forward=lambda self, x: self.out(self.mix(x).mean((2, 3)))), "must return Outputs"),
        (changed(forward=lambda self, x: Outputs(self.mix(x), {})), "must return Outputs"),
        (changed(forward=lambda self, x: self.nothing(x)), "cannot classify .2, 12, 19, 19.: AttributeError"),
        (changed(dense=lambda self, image: torch.zeros(3, 2, 3)), "dense differs from its windows by"),
        (changed(config=property(lambda self: {"bands": 12}, lambda self, value: None)), "config must hold all"),
    ],
)
def test_a_network_that_breaks_the_contract_is_refused_in_one_line_when_it_is_registered(net, says, registered):
    with pytest.raises(HsiError, match=says) as error:
        network("mine", "Mine", width=3)(net)
    assert "\n" not in str(error.value)


OWN = [m for m in methods.METHODS.values() if m.family in ("compact", "rivals") and m.network]


@pytest.mark.parametrize("about", OWN, ids=lambda about: about.name)
def test_the_networks_of_the_library_keep_the_contract(about):
    check(about.network, max(about.least, 12), **{key: about.options[key] for key in about.config})


def test_components_become_a_layer_that_changes_nothing_and_is_rounded_like_others(tmp_path):
    store, words = Store(tmp_path), dict(ratio=98, epochs=1)
    runs = [make_run(SMALL, "disjoint", name, **words) for name in ("scratch_aug", "projected")]
    runs.append(make_run(SMALL, "disjoint", "static", options={"of": "projected"}, **words))
    plain, layer, rounded = (execute(run, store)[0] for run in runs)
    maps = [store.read_map(run.id) for run in runs]
    assert (maps[1] == maps[0]).mean() > 0.9999 and (maps[2] == maps[1]).mean() > 0.9
    assert layer["params"] == plain["params"] + 103 * 40 and rounded["payload"] < layer["payload"] / 3
    task = task_of(runs[0])
    far = make_inputs(task.scene, task.split, "patches", fit="train")
    with pytest.raises(HsiError, match="only if they were found on all pixels"):
        projected(trained(runs[0], store), far, task.inputs("windows"))
    with pytest.raises(HsiError, match="of a CNN2D become a layer, not of Projected"):
        projected(trained(runs[1], store), task.inputs("patches"), task.inputs("windows"))


def test_one_teaches_branches_on_one_projection():
    task = task_of(make_run(SMALL, "disjoint", "lens_one", epochs=2))
    net = methods.get("lens_one").train(task)
    assert type(net).__name__ == "Lens" and net.config["width"] == 22
    assert set(task.history[0]) == {"ce0", "ce1", "ce2", "ce_mixed", "kd"}
    shares = np.array(task.notes["gates"]["2"])[0]
    assert shares.shape == (3,) and shares.sum() == pytest.approx(1, abs=2e-3)


# ------------------------------------------------------------------------------------------- whole numbers


def samples(net):
    """What a network sees of a scene, and forty training pixels of it: their places, and as it sees them."""
    task = task_of(make_run(SMALL, "random", "lens"))
    inputs, pixels = task.inputs(net.kind), task.split.train[:40]
    return inputs, pixels, inputs.samples(torch.from_numpy(pixels))


@pytest.mark.parametrize(
    "net, first",
    [(Lens(103, 9, 6, 5), "project"), (GhostLens(103, 9, 6, 5), "project"), (Perceptron(103, 9), "fc1"), (LiuNet(103, 9), "")],
)
def test_a_network_in_whole_numbers_is_close_and_runs_over_a_scene_as_over_windows(net, first):
    inputs, _, x = samples(after_training(net))
    plan = layers.plan_of(net, x)
    folded = layers.fold(net, plan)  # batch norm is folded, which changes nothing
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert (folded(x).logits - net(x).logits).abs().max() < 1e-4 and plan.first == first
    small = layers.static(net, x, inputs.reduction)
    assert {m.weight.dtype for m in small.modules() if hasattr(m, "weight")} == {torch.int8}
    assert (small(x).logits - net(x).logits).abs().mean() < 0.05 * net(x).logits.std()
    index = torch.arange(0, inputs.count, 37)
    np.testing.assert_allclose(scene_scores(small, inputs)[index], pixel_scores(small, inputs, index), atol=1e-3)
    again = layers.Int8Net(**small.config)
    again.load_state_dict(small.state_dict())
    assert torch.equal(again.eval()(x).logits, small(x).logits)


def test_the_first_layer_multiplies_raw_values_with_bytes():
    net = after_training(Perceptron(103, 9))
    inputs, pixels, x = samples(net)
    first = layers.static(net, x, inputs.reduction).net.fc1
    raw = torch.from_numpy(load_scene(SMALL).cube.reshape(-1, 103)[pixels].astype(np.float64))
    mean = torch.from_numpy(inputs.reduction[0]).double()
    by_hand = (raw - mean) @ first.weight.double().T * first.scale.double().T + first.bias
    assert torch.allclose(first(x).double(), by_hand, atol=1e-4) and first.weight.abs().max() > 100  # all eight bits


def test_training_with_roundings_before_any_step_equals_what_it_is_converted_to():
    lens = after_training(Lens(103, 9, width=6, centre=5))
    inputs, _, windows = samples(lens)
    patches = torch.randn(20, 40, 19, 19, generator=torch.Generator().manual_seed(0))
    aware = Aware(lens, windows, inputs.reduction, bits=4)
    for rounding, x in ((QAT(worn(classes=9, widths=(6, 8, 10))), patches), (aware, windows)):
        with torch.no_grad():
            rounding.train().freeze(0.5)  # statistics as they are; ranges of this one batch
            rounding(x)
            rounding.freeze(1.0)
            apart = (rounding(x).logits - rounding.convert()(x).logits).abs()
        assert apart.mean() < 2e-3 and apart.max() < 0.1  # a rounding that falls on the other side now and then
    levels = [m.weight.unique() for m in aware.convert().modules() if getattr(m, "bits", 8) == 4]
    assert levels and all(len(level) <= 16 and level.min() >= -8 for level in levels)


@pytest.mark.parametrize(
    "first, says", [(nn.LSTM(12, 2), "Mine.first is LSTM"), (nn.BatchNorm2d(12), "but Mine.first does not follow a layer")]
)
def test_what_cannot_be_put_in_whole_numbers_is_named(first, says):
    net = Mine(12, 3)
    net.first, net.forward = first, lambda x: Mine.forward(net, first(x))
    with pytest.raises(HsiError, match=says):
        layers.plan_of(net, torch.randn(2, 12, 19, 19))


def test_a_network_in_whole_numbers_is_a_run_with_the_recipe_of_its_network():
    store = Store()
    run = make_run(SMALL, "disjoint", "static", options={"of": "perceptron"}, epochs=2)
    assert run.recipe == make_run(SMALL, "disjoint", "perceptron", epochs=2).recipe == parents(run)[0].recipe
    assert make_run(SMALL, "disjoint", "lens").recipe == Recipe(epochs=60, lr=2e-3, schedule="one_cycle")
    row, small = execute(run, store)
    plain = store.rows().query("method == 'perceptron'").iloc[-1]
    assert row["payload"] < plain["payload"] / 3 and row["params"] == plain["params"]
    four = execute(make_run(SMALL, "disjoint", "qat4", options={"of": "perceptron"}, epochs=2), store)[0]
    assert four["payload"] == row["payload"] - 24 * 9 // 2  # the second layer; the first keeps eight bits
    with pytest.raises(HsiError, match="qat4 takes networks small by design, not CNN2D"):
        execute(make_run(SMALL, "disjoint", "qat4", options={"of": "cnn2d_aug"}, epochs=1), store)


# -------------------------------------------------------------------------------------------------- taught


def test_teachers_are_those_that_are_named_and_members_of_an_ensemble_differ():
    run = make_run(SMALL, "disjoint", "lens_taught", options={"by": "2*lens_2k+mlp"}, epochs=2)
    found = parents(run)
    assert [(r.method, dict(r.options).get("member")) for r in found] == [("lens_2k", 0), ("lens_2k", 1), ("mlp", None)]
    assert {r.recipe for r in found} == {run.recipe} and found[0].id == make_run(SMALL, "disjoint", "lens_2k", epochs=2).id
    for by, says in (("3*mlp", "not '3\\*mlp'"), ("lens+nobody", "unknown method 'nobody'"), ("x*lens", "not 'x\\*lens'")):
        with pytest.raises(HsiError, match=says):
            parents(make_run(SMALL, "disjoint", "lens_taught", options={"by": by}))


def test_teacher_and_student_see_the_same_turned_window():
    """A teacher that is the student leaves nothing to learn, however the windows are turned."""
    task = task_of(make_run(SMALL, "disjoint", "lens_taught", epochs=1))
    net = after_training(Lens(103, 9))
    look = Look(task, net)
    p = answers(net, task, 4.0, look.views)
    index = torch.arange(20)
    x = look.draw(look.data.x(index), torch.Generator().manual_seed(0))
    z = look(net, Batch(index, x, look.data.y[index], 0.0))
    assert len(look.view.unique()) > 3 and torch.allclose(p[look.view, index], torch.softmax(z / 4, 1), atol=1e-5)
    assert torch.allclose(z, net(turned_by(task.data(net).x(index), look.view)).logits, atol=1e-4)


# ------------------------------------------------------------------------------------------------ low rank


def test_the_nearest_layer_of_lower_rank_is_taken():
    net = initialise(CNN1D(103, 9), 0).eval()
    made = low_rank.factored(net, "fc1", 5)
    weight, product = net.fc1.weight.detach(), (made.net.fc1[1].weight @ made.net.fc1[0].weight).detach()
    gone = torch.linalg.svdvals(weight)[5:]
    assert float((product - weight).norm()) == pytest.approx(float(gone.norm()), rel=1e-3)
    assert parameters(made) < parameters(net) / 4


def test_a_network_of_low_rank_is_stored_put_in_whole_numbers_and_refused_in_one_line():
    store, run = Store(), make_run(SMALL, "disjoint", "low_rank", epochs=1)
    row, net = execute(run, store)
    assert torch.equal(trained(run, store).net.fc1[0].weight, net.net.fc1[0].weight)
    small = execute(make_run(SMALL, "disjoint", "static", options={"of": "low_rank"}, epochs=1), store)[0]
    assert small["payload"] < row["payload"] / 2
    for options, says in (({"layer": "fc9"}, "no linear layer 'fc9'; it has fc1, fc2"), ({"rank": 0}, "rank must be from 1 to")):
        with pytest.raises(HsiError, match=says):
            execute(make_run(SMALL, "disjoint", "low_rank", options=options, epochs=1), store)


def test_cutting_a_lens_takes_what_stays_and_nothing_else():
    net = initialise(Lens(12, 3, 8, 8), 0).eval()
    x = torch.randn(4, 12, 19, 19)
    keep = {name: torch.tensor(chosen) for name, chosen in zip(pruned.MAKERS, ([0, 2, 5], [1, 2, 7], [0, 3, 6], [2, 4, 5]))}
    with torch.no_grad():  # channels that say nothing may go
        for name, norm in zip(pruned.MAKERS, ("bn", "first.bn2", "second.bn2", "bn_spot")):
            gone = [c for c in range(8) if c not in keep[name].tolist()]
            net.get_submodule(name).weight[gone] = 0
            net.get_submodule(norm).bias[gone] = 0
        for norm in ("first.bn1", "second.bn1", "bn3"):
            net.get_submodule(norm).bias[:] = 0
    small = pruned.cut(net, keep)
    assert small.config["width"] == small.config["centre"] == 3
    assert torch.allclose(small(x).logits, net(x).logits, atol=1e-5)
    assert all(torch.equal(keep[name], chosen) for name, chosen in pruned.strongest(net, 3, 1).items())
    pruned.zero_weakest(net, 2)
    assert all((net.get_submodule(name).weight.flatten(1).abs().sum(1) > 0).sum() == 2 for name in pruned.MAKERS)


def test_teachers_that_are_right_count_more():
    z, y, t = torch.randn(3, 2, 5, 4), torch.randint(4, (5,)), 4.0
    p = (z / t).softmax(3)
    ce = torch.nn.functional.cross_entropy(z.flatten(0, 2), y.expand(3, 2, 5).flatten(), reduction="none").view(3, 2, 5)
    weights = (1 - ce.exp() / ce.exp().sum(0)) / 2
    assert torch.allclose(taught.together(p, y, t, "right"), (p * weights[..., None]).sum(0), atol=1e-6)
    assert torch.equal(taught.together(p, y, t, "alike"), p.mean(0))
    with pytest.raises(HsiError, match="unknown weigh 'wrong'"):
        taught.together(p, y, t, "wrong")
