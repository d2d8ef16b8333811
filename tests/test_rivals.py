"""The field's own small networks and filters: published sizes, written-out passes, exact means."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hsilib import HsiError, Perceptron, Store, load_scene, macs, make_inputs, make_run, parameters, scene_scores
from hsilib.data.splits import make_split, near
from hsilib.identity import Recipe, parents
from hsilib.methods.compact.filters import After, Before, averaged, smoothed
from hsilib.methods.compact.narrow import NarrowLens
from hsilib.methods.compact.rivals import CLOLN, LS2CM, SSFTT, GhostNetHSI
from hsilib.methods.quantize import layers
from hsilib.models.networks import NETWORKS
from hsilib.models.train import rate
from hsilib.study.execute import execute, trained
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import correlate1d
from scipy.special import erf, expit, log_softmax, softmax

from conftest import after_training, tiny

SMALL = "synthetic_urban_small"


# of CLOLN's published 6,198 a layer that nothing calls has 512, and two batch norms that nothing calls 64; its
# 408,656 products leave out the mean of what squeeze and excite weighs
@pytest.mark.parametrize(
    "net, bands, count, products",
    [(CLOLN, 200, 6198 - 512 - 64, 408_656 + 16 * 81), (LS2CM, 200, 12_912, 1_315_568),
     (GhostNetHSI, 200, 59_358, 1_732_980), (SSFTT, 30, 153_224, 11_647_264)],
)
def test_networks_of_the_field_have_their_published_size(net, bands, count, products):
    made = net(bands, 16)
    assert parameters(made) == count
    assert macs(made, torch.zeros(1, bands, made.window, made.window)) == products


def array(tensor):
    return tensor.detach().numpy().astype(float)


def conv(x, layer, pad=0):
    """A convolution in numpy: x (C, h, w)."""
    w = array(layer.weight)
    windows = sliding_window_view(np.pad(x, ((0, 0), (pad, pad), (pad, pad))), w.shape[2:], (1, 2))
    of_each = w.shape[1] == 1 and len(w) == len(x)  # each channel on its own
    out = np.einsum("cij,chwij->chw", w[:, 0], windows) if of_each else np.einsum("ocij,chwij->ohw", w, windows)
    bias = getattr(layer, "bias", None)
    return out if bias is None else out + array(bias)[:, None, None]


def norm(x, bn):
    """Batch norm in numpy, as after training: x (C, ...)."""
    a, b, m, v = map(array, (bn.weight, bn.bias, bn.running_mean, bn.running_var))
    return ((x.T - m) / np.sqrt(v + bn.eps) * a + b).T


def linear(x, layer):
    out = x @ array(layer.weight).T
    return out if layer.bias is None else out + array(layer.bias)


def relu(x):
    return np.maximum(x, 0)


def squeeze(x, se, gate=lambda z: z):
    return x * gate(linear(relu(linear(x.mean((1, 2)), se.fc1)), se.fc2))[:, None, None]


def cloln(net, x):
    def pair(x, depth, row):
        along = correlate1d(x, array(row.weight)[0, 0, 0], mode="constant")
        return np.concatenate([conv(x, depth, 1), along])

    def act(x, a):
        return norm(conv(relu(x), a, 1), a.bn)

    x = relu(norm(pair(conv(x[:, 5:14, 5:14], net.project), net.depth1, net.row1), net.bn1))
    x = norm(pair(conv(x, net.mix), net.depth2, net.row2), net.bn2)
    x = squeeze(act(x, net.act1), net.squeeze1, expit)
    x = squeeze(act(norm(conv(x, net.conv3), net.bn3), net.act2), net.squeeze2, expit)
    return linear(x.mean((1, 2)), net.head)


def ls2cm(net, x):
    def unit(x, m):
        point = conv(x, m.point)
        x = norm(np.concatenate([conv(point, m.depth, 1), point]), m.bn)
        return relu(x) if m.relu else x

    x = relu(norm(conv(x[:, 4:15, 4:15], net.project), net.bn))
    for block in net.blocks:
        around = norm(conv(x, block.around[0]), block.around[1]) if len(block.around) else x
        x = unit(unit(x, block.first), block.second) + around
    return linear(x.mean((1, 2)), net.head)


def ghostnet(net, x):
    def ghost(x, m, act):
        main = act(norm(conv(x, m.point), m.bn1))
        return np.concatenate([main, act(norm(conv(main, m.depth, 1), m.bn2))])

    x = relu(norm(conv(x[:, 5:14, 5:14], net.stem), net.bn1))
    for block in net.blocks:
        around = x
        if len(block.around):
            depth, bn1, point, bn2 = block.around
            around = norm(conv(norm(conv(x, depth, depth.padding[0]), bn1), point), bn2)
        x = ghost(squeeze(ghost(x, block.wide, relu), block.squeeze), block.narrow, lambda z: z) + around
    x = relu(norm(conv(x, net.conv), net.bn2)).mean((1, 2))
    return linear(norm(linear(x, net.fc1), net.bn3), net.fc2)


def ssftt(net, x):
    def layer_norm(t, ln):
        scale, shift = array(ln.weight), array(ln.bias)
        return (t - t.mean(1, keepdims=True)) / np.sqrt(t.var(1, keepdims=True) + ln.eps) * scale + shift

    first, place, kernels, bias = map(array, (net.first[0], net.place[0], net.conv3.weight, net.conv3.bias))
    cube = sliding_window_view(x[:, 3:16, 3:16], (3, 3, 3))
    cube = np.einsum("odij,chwdij->ochw", kernels[:, 0], cube) + bias[:, None, None, None]
    cube = relu(norm(cube, net.bn3))
    x = relu(norm(conv(cube.reshape(-1, 11, 11), net.conv2), net.bn2)).reshape(64, 81).T
    t = softmax(linear(x, net.attend), 0).T @ linear(x, net.value)
    t = np.concatenate([first, t]) + place
    q, k, v = np.split(linear(layer_norm(t, net.norm1), net.qkv), 3, 1)
    heads = [softmax(q[:, h] @ k[:, h].T / 8, 1) @ v[:, h] for h in np.split(np.arange(64), 8)]
    t = t + linear(np.concatenate(heads, 1), net.out)
    up = linear(layer_norm(t, net.norm2), net.up)
    t = t + linear(up * 0.5 * (1 + erf(up / np.sqrt(2))), net.down)
    return linear(t[0], net.head)


@pytest.mark.parametrize("net, by_hand", [(CLOLN, cloln), (LS2CM, ls2cm), (GhostNetHSI, ghostnet), (SSFTT, ssftt)])
def test_a_pass_equals_the_same_written_out_in_numpy(net, by_hand):
    made = after_training(net(30, 5))
    with torch.no_grad():
        for p in made.parameters():  # no weight is at its first value, biases are not zero
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
        x = torch.randn(2, 30, 19, 19, generator=torch.Generator().manual_seed(1))
        out = made(x).logits.numpy()
    for window, logits in zip(x.double().numpy(), out):
        np.testing.assert_allclose(logits, by_hand(made, window), rtol=2e-4, atol=2e-4)


# ------------------------------------------------------------------------------------------- filters


def by_hand(image, size):
    """The mean over size x size pixels of (h, w, C), pixel by pixel; at the border of fewer."""
    reach, out = size // 2, np.empty_like(image)
    for i, j in np.ndindex(image.shape[:2]):
        out[i, j] = image[max(i - reach, 0) : i + reach + 1, max(j - reach, 0) : j + reach + 1].mean((0, 1))
    return out


def seen(kind):
    """What a network of a kind sees of the tiny scene."""
    scene = tiny()
    return make_inputs(scene, make_split(scene, "disjoint", 0), kind)


def test_a_network_of_means_sees_the_mean_of_the_spectra_around_the_border_of_fewer():
    bands, windows = seen("bands"), seen("windows")
    means = by_hand(bands.pixels.view(12, 11, 6).double().numpy(), 5).reshape(132, 6)
    np.testing.assert_allclose(averaged(bands, 5).pixels, means, atol=1e-5)
    inner = after_training(Perceptron(6, 3, width=4))
    net = Before.holding(inner, "cpu", before=5)
    with torch.no_grad():
        expected = inner(torch.from_numpy(means).float()).logits
        np.testing.assert_allclose(net(windows.samples(torch.arange(132))).logits, expected, atol=1e-5)
    np.testing.assert_allclose(scene_scores(net, windows), expected, atol=1e-5)


def test_scores_are_averaged_as_logarithms_and_votes_are_counted():
    scores = np.random.default_rng(0).normal(size=(3, 8, 9))
    there = torch.ones(1, 1, 8, 9, dtype=torch.double)
    logs = log_softmax(scores, 0).transpose(1, 2, 0)
    out = smoothed(torch.from_numpy(scores), there, 3, 1).numpy()
    np.testing.assert_allclose(out.transpose(1, 2, 0), by_hand(logs, 3), atol=1e-9)
    votes = by_hand(np.eye(3)[by_hand(logs, 3).argmax(2)], 5)
    out = smoothed(torch.from_numpy(scores), there, 3, 5).numpy()
    np.testing.assert_allclose(out.transpose(1, 2, 0), votes, atol=1e-6)


class Far(Perceptron):
    """A network of windows that has no form for a whole scene."""

    kind = "windows"

    def forward(self, x):
        return super().forward(x[:, :, 9, 9] + x[:, :, 0, 18])


@pytest.mark.parametrize("inner", [Far(6, 3, width=4), Perceptron(6, 3, width=4), NarrowLens(6, 3, width=3)])
def test_a_filter_works_on_any_network(inner, monkeypatch):
    monkeypatch.setitem(NETWORKS, "Far", Far)
    net = After.holding(after_training(inner), "cpu", after=3, vote=1)
    plain = log_softmax(scene_scores(inner, seen(inner.kind)), 1)
    expected = by_hand(plain.reshape(12, 11, 3), 3).reshape(132, 3)
    np.testing.assert_allclose(scene_scores(net, seen("windows")), expected, atol=1e-4)


@pytest.mark.parametrize("method, size", [("filtered", "after"), ("perceptron_mean", "before")])
def test_even_sizes_of_filters_are_refused(method, size):
    with pytest.raises(HsiError, match=f"{size} must be an odd number from 1 to 19, not 4"):
        execute(make_run(SMALL, "random", method, epochs=1, options={size: 4}), Store())


def test_what_is_filtered_is_the_trained_network_of_the_other_run():
    run = make_run(SMALL, "random", "filtered", epochs=2, options={"of": "perceptron_mean", "before": 5, "vote": 3})
    assert dict(parents(run)[0].options)["before"] == 5
    row, net = execute(run, Store())
    plain = trained(parents(run)[0])
    state = {f"net.{key}": value for key, value in plain.state_dict().items()}
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert row["payload"] == 4 * (103 * 24 + 24 + 24 * 9 + 9 + 24)  # a filter has no bytes
    assert trained(run).config == net.config  # from its stored weights
    run = make_run(SMALL, "random", "filtered", options={"of": "lens_2k", "int8": True})
    assert [str(parent) for parent in parents(run)] == [f"static of=lens_2k · {SMALL} · random · seed 0"]


def test_the_integer_form_of_a_network_of_means_takes_raw_means():
    inputs = seen("windows")
    net = Before.holding(after_training(Perceptron(6, 3, width=4)), "cpu", before=3)
    x = inputs.samples(torch.arange(132))
    small = layers.static(net, x, inputs.reduction)
    assert small.config["first"] == "net.fc1" and small.window == 3
    assert (small(x).logits.argmax(1) == net(x).logits.argmax(1)).float().mean() > 0.9


def test_classical_models_on_means_are_filtered_behind_too():
    asked = ("mlr", {}), ("mlr_mean", {"before": 1}), ("mlr_mean", {"before": 1, "after": 3, "vote": 3})
    plain, same, other = (execute(make_run(SMALL, "random", of, options=o), Store())[0]["oa"] for of, o in asked)
    assert plain == same != other


# ----------------------------------------------------------------------------------- recipes and choice


def test_rates_rise_fall_and_come_back():
    def rates(schedule, *steps):
        recipe = Recipe(epochs=60, lr=0.1, schedule=schedule)
        return [rate(recipe, step, step, 60) / 0.1 for step in steps]  # a step is an epoch here

    assert rates("one_cycle", 0, 9, 18, 39, 60) == pytest.approx([0.04, 0.52, 1, 0.5, 0])
    assert rates("cosine", 0, 30, 60) == pytest.approx([1, 0.5, 0]) and rates("constant", 0, 60) == [1, 1]
    assert rates("sgd_waves", 0, 5, 15, 30) == rates("waves", 0, 5, 15, 30) == pytest.approx([1, 0.75, 0, 1])


def test_a_choice_is_made_on_training_pixels_as_far_away_as_the_test_pixels():
    scene = load_scene("synthetic_fields")
    whole, split = make_split(scene, "disjoint", 0), make_split(scene, "choice", 0)
    assert set(split.train) | set(split.test) == set(whole.train)
    assert not set(split.test) & set(whole.test)
    assert 0.3 < len(split.test) / len(whole.train) < 0.5

    def share(part, window):
        mask = np.zeros(scene.labels.shape, bool)
        mask.flat[part.train] = True
        return near(mask, window).flat[part.test].mean()

    older = make_split(scene, "validation", 0)
    gaps = [max(abs(share(part, w) - share(whole, w)) for w in (3, 5, 9, 19)) for part in (split, older)]
    assert gaps[0] < gaps[1], gaps
    assert set(make_split(scene, "choice", 5).test) != set(split.test)


def test_a_class_of_few_pixels_stays_in_training():
    scene = tiny()
    few = scene.train_map.copy()
    rare = np.flatnonzero(few == 3)[5:]
    few.flat[rare] = 0
    split = make_split(replace(scene, train_map=few), "choice", 0)
    assert 2 not in split.test_y and (split.train_y == 2).sum() == 5


@pytest.mark.parametrize("window", [9, 13])
def test_a_batch_norm_behind_the_middle_of_a_window_is_folded(window):
    """So that a Lens with a smaller window has an int8 form."""
    net, x = after_training(NarrowLens(6, 4, window)).eval(), torch.rand(3, 6, 19, 19)
    plan = layers.plan_of(net, x)
    assert plan.folds["bn"] == "project"
    torch.testing.assert_close(layers.fold(net, plan)(x).logits, net(x).logits)
