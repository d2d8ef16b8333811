import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hsilib import HsiError, Lens, Recipe, load_scene, make_inputs, make_run, split_of, task_of
from hsilib.methods.compact.ghost import GhostLens
from hsilib.methods.compact.learnt import LearntCNN2D
from hsilib.methods.compact.narrow import NarrowLens
from hsilib.methods.compact.spectral import LiuNet, Perceptron, Pointwise
from hsilib.methods.distill.simkd import Reused
from hsilib.methods.quantize.integer import Int8CNN2D, fold_batch_norm
from hsilib.models.evaluate import confusion, metrics, per_class, pixel_scores, scene_scores
from hsilib.models.measure import macs, measured, parameters, payload
from hsilib.models.networks import CNN1D, CNN2D, CNN3D, LSTM, MLP, WIDTHS, Outputs, initialise
from hsilib.models.train import TrainingSet, fit, flips_and_rotations

from conftest import after_training

SMALL = "synthetic_urban_small"


@pytest.mark.parametrize(
    "net, count",
    [(MLP(200, 16), 31_047), (MLP(103, 9), 8_823), (LSTM(200, 16), 102_416), (LSTM(103, 9), 77_129),
     (LSTM(200, 16, review=True), 255_248), (CNN1D(200, 16), 72_416), (CNN1D(103, 9), 33_709), (CNN2D(1, 16), 378_116),
     (CNN2D(40, 16), 426_866), (CNN2D(40, 16, batch_norm=False), 426_866), (CNN2D(40, 9), 426_159),
     (CNN2D(40, 16, WIDTHS[90]), 49_321), (CNN2D(40, 16, WIDTHS[95]), 25_386), (CNN2D(40, 16, WIDTHS[98]), 8_951),
     (CNN3D(40, 16), 1_803_612), (CNN3D(40, 9), 1_801_505), (LiuNet(112, 3), 4_563), (LiuNet(200, 16), 7_120),
     (Pointwise(200, 16), 5_332), (Perceptron(200, 16), 5_224),
     (Reused(40, 16, WIDTHS[90]), 53_441)],  # of SimKD: projector and classifier are deployed and count
)  # fmt: skip
def test_parameter_counts_are_the_published_ones(net, count):
    assert parameters(net) == count


def test_multiply_adds():
    dense = 225 * 40 * 25 * 50 + 121 * 50 * 25 * 100 + 2500 * 100 + 100 * 16
    assert macs(CNN2D(40, 16), torch.zeros(1, 40, 19, 19)) == dense
    assert macs(MLP(200, 16), torch.zeros(1, 200)) == 200 * 143 + 143 * 16
    assert macs(Pointwise(200, 16), torch.zeros(1, 200)) == 200 * 24 + 24 * 12 + 12 * 16
    assert macs(LSTM(200, 16), torch.zeros(1, 200)) == 4 * (200 * 64 + 3 * 64 * 64) + 64 * 16


@pytest.mark.parametrize(
    "net",
    [CNN2D(40, 9), CNN2D(40, 9, WIDTHS[95], batch_norm=False), CNN3D(40, 9), Lens(103, 9, 6, centre=0),
     GhostLens(103, 9, 6, centre=5), LearntCNN2D(103, 9, cut=98), *(NarrowLens(103, 9, window, width=6) for window in (9, 13))],
)  # fmt: skip
def test_strips_of_a_scene_give_what_windows_give_border_included(net, monkeypatch):
    monkeypatch.setattr("hsilib.models.evaluate.STRIP", 20)
    scene = load_scene(SMALL)
    inputs = make_inputs(scene, split_of(scene, "random"), after_training(net).kind)
    corners = torch.tensor([47, inputs.count - 48, inputs.count - 1])
    index = torch.cat([torch.arange(0, inputs.count, 37), corners])
    dense = scene_scores(net, inputs)
    assert np.abs(dense[index] - pixel_scores(net, inputs, index)).max() < 1e-5 * max(1, np.abs(dense).max())


def test_cnn3d_is_a_3d_convolution():
    net = after_training(CNN3D(40, 9))
    x = torch.randn(2, 40, 19, 19)
    f = F.relu(net.bn1(net.conv1(x[:, None])))
    f = F.relu(net.bn2(net.conv2(f))).flatten(1, 2)
    assert torch.allclose(net.convolutions(x), f, atol=1e-4)


def test_initial_weights_depend_on_the_seed_alone():
    a, b, c = (initialise(CNN2D(40, 9), seed).conv1.weight.detach() for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert float(a.std()) == pytest.approx((2 / (40 * 25 + 50 * 25)) ** 0.5, rel=0.02)  # Glorot, uniform


def test_metrics_by_hand():
    true = np.array([0, 0, 0, 1, 1, 3])
    scores = np.eye(7)[[0, 0, 1, 1, 1, 0]] + np.array([0.15, 0, 0.1, 0, 0.2, 0.3, 0.4])
    table = confusion(true, scores.argmax(1), 7)
    found = metrics(scores, true)
    assert found["oa"] == pytest.approx(100 * 4 / 6)
    assert found["aa"] == pytest.approx(100 * (2 / 3 + 1 + 0) / 3)
    assert found["top5"] == pytest.approx(100 * 5 / 6)  # class 3 is never among the five
    chance = (3 * 3 + 2 * 3) / 36
    assert found["kappa"] == pytest.approx(100 * (4 / 6 - chance) / (1 - chance))
    assert found["f1"] == pytest.approx(100 * (2 * 2 / 6 + 2 * 2 / 5 + 0) / 3)
    assert per_class(table)[:2] == pytest.approx([200 / 3, 100]) and np.isnan(per_class(table)[2])


def test_equal_scores_share_the_places_left():
    scores = np.zeros((10, 10))
    scores[:, 0] = 1
    assert metrics(scores, np.arange(10))["top5"] == pytest.approx(100 * (1 + 9 * 4 / 9) / 10)


def test_what_is_to_train_along_does_and_then_rests():
    torch.manual_seed(0)
    x, net, other = (torch.rand(20, 4), torch.nn.Linear(4, 3), torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout(0.1)))
    before, data = other[0].weight.clone(), TrainingSet(lambda index: x[index], torch.arange(20) % 2)
    loss = lambda model, batch: {"ce": F.cross_entropy(other(model(batch.x)), batch.y)}  # noqa: E731
    fit(net, data, Recipe(epochs=1, batch=10), 0, loss, extra=[other])
    assert not torch.equal(before, other[0].weight) and not other[1].training


def test_flips_and_rotations_are_the_eight_symmetries():
    x = torch.arange(9.0).view(1, 1, 3, 3).repeat(400, 1, 1, 1)
    out = flips_and_rotations(x, torch.Generator().manual_seed(0))
    assert len({tuple(p.flatten().tolist()) for p in out}) == 8


def test_the_payload_is_every_number_from_raw_spectrum_to_class():
    weights = 25 * (40 * 5 + 5 * 10 + 10 * 10) + 10 * 16
    outputs, reduction = 5 + 10 + 10 + 16, 201 * 40  # and the principal components
    net = CNN2D(40, 16, (5, 10, 10))
    assert payload(net, 200) == 4 * (weights + outputs + reduction) == payload(fold_batch_norm(net), 200)
    small = Int8CNN2D(40, 16, (5, 10, 10))
    assert payload(small, 200) == weights + 8 * outputs + 4 * 5 + 4 * reduction == 41_418
    assert payload(MLP(200, 16), 200) == 4 * parameters(MLP(200, 16))  # standardised bands fold into fc1
    gates = 2 * 4 * 64  # two biases of each are one
    assert payload(LSTM(200, 16), 200) == 4 * (parameters(LSTM(200, 16)) - gates)
    plain = CNN1D(200, 16)
    assert payload(plain, 200) == 4 * (parameters(plain) - 200) + 8 * 200  # batch norm folds, bands do not
    net = Lens(200, 16, width=12)
    layers = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    border = len(net.project.weight)  # what the projection makes of the mean spectrum
    assert payload(net, 200) == 4 * (sum(m.weight.numel() + len(m.weight) for m in layers) + border)


class Bare(torch.nn.Module):
    """A network of somebody's own: a weight and a grid that no module shows, and what ``way`` makes of them."""

    kind = "bands"

    def __init__(self, way, bands=100, hidden=60, classes=5):
        super().__init__()
        self.way, self.w, self.head = way, torch.nn.Parameter(torch.randn(bands, hidden)), torch.nn.Linear(hidden, classes)
        self.register_buffer("grid", torch.ones(hidden))
        self.norm = torch.nn.BatchNorm1d(hidden)

    def forward(self, x):
        return Outputs(self.head(self.norm(self.way(x, self.w)) * self.grid), {})


@pytest.mark.parametrize(
    "way, count",
    [(lambda x, w: x @ w, 100 * 60), (lambda x, w: (x[:, :, None] * w).sum(1), 100 * 60),
     (lambda x, w: torch.mv(w.T, x[0])[None], 100 * 60), (lambda x, w: torch.cdist(x, w.T), None),
     (lambda x, w: torch.fft.rfft(x).abs() @ w[:51], None)],
)  # fmt: skip
def test_weights_that_no_module_shows_are_counted(way, count):
    net = Bare(way)
    numbers = 100 * 60 + 60 + 60 * 5 + 5 + 2 * 60  # a norm that no layer is there for stays
    assert payload(net, 100) == 4 * numbers + 8 * 100 and parameters(net) == 100 * 60 + 60 * 5 + 5
    assert macs(net, torch.zeros(1, 100)) == (count and count + 60 * 5)


class Steps(torch.nn.Module):
    """A spectrum as steps of one band each."""

    kind = "bands"

    def __init__(self, inner):
        super().__init__()
        self.widen, self.inner, self.head = torch.nn.Linear(1, 16), inner, torch.nn.Linear(16, 5)

    def forward(self, x):
        x = self.inner(self.widen(x[..., None]))
        return Outputs(self.head((x[0] if isinstance(x, tuple) else x).mean(1)), {})


def test_layers_of_torch_are_measured_each_in_full():
    nn = torch.nn
    gru, transformer = nn.GRU(16, 16, batch_first=True), nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    attention = 100 * (16 * 48 + 16 * 16) + 2 * 100 * 100 * 16  # weights of every step; products of all steps with all
    for inner, count in ((gru, 100 * 2 * 3 * 16 * 16), (transformer, attention + 100 * 2 * 16 * 32)):
        net = Steps(inner)
        found = measured(net, torch.zeros(1, 100), 100)
        assert found["payload"] == 4 * sum(p.numel() for p in net.parameters()) + 8 * 100
        assert found["macs"] == count + 100 * 16 + 16 * 5


def test_a_network_that_cannot_be_measured_is_refused_before_it_trains():
    moody = type("Moody", (MLP,), {"__module__": "__main__", "state_dict": lambda self: self.weights})
    with pytest.raises(HsiError, match="Moody cannot be measured: AttributeError: .* no attribute 'weights'"):
        task_of(make_run(SMALL, "random", "mlp", epochs=1)).network(moody)


def test_what_a_network_is_not_given_is_said():
    for net, bands in ((CNN1D, 7), (CNN3D, 20)):
        with pytest.raises(HsiError, match="needs at least"):
            net(bands, 3)
    scene = load_scene(SMALL)
    split = split_of(scene, "random")
    with pytest.raises(HsiError, match="unknown kind of inputs 'spectra'; did you mean: bands, minmax, patches, windows"):
        make_inputs(scene, split, "spectra")
    with pytest.raises(HsiError, match="Lens needs inputs of the kind windows.*make_inputs.scene, split, 'windows'"):
        scene_scores(Lens(103, 9, width=12), make_inputs(scene, split, "bands"))
