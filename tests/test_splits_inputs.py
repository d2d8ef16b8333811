import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from hsilib.data.cards import read_card, write_card
from hsilib.data.formats import Image, of_array
from hsilib.data.inputs import make_inputs
from hsilib.data.scenes import Scene, load_scene
from hsilib.data.splits import FEW, SPLITS, TRANSFER, make_split, split_of
from hsilib.errors import HsiError
from hsilib.methods.registry import get
from hsilib.methods.task import Task
from hsilib.models.evaluate import scene_scores
from hsilib.models.networks import CNN2D, initialise
from hsilib.study.runs import make_run

from conftest import tiny
from fuzz import resident


@pytest.mark.parametrize("name", SPLITS)
def test_train_and_test_never_share_a_pixel(name):
    scene = load_scene("synthetic_fields_small" if name in ("blocks", "buffered") else "synthetic_urban_small")
    split = split_of(pair() if name in TRANSFER else scene, name, 1)
    assert not set(split.train) & set(split.test)
    assert set(split.test_y) <= set(split.train_y)


def pair(gap=20):
    """Two images of three classes side by side, the second one smaller."""
    rng, labels, there = np.random.default_rng(0), np.zeros((25, 40 + gap), np.uint8), np.zeros((25, 40 + gap), bool)
    there[:, :20] = there[:18, 20 + gap :] = True
    labels[there] = rng.integers(0, 4, there.sum())
    cube = np.where(there[..., None], rng.normal(5, 2, (*there.shape, 3)), 0).astype(np.float32)
    return Scene("pair", "pair", cube, labels, ("a", "b", "c"), there=there, second=20 + gap)


def test_transfer_trains_on_one_image_and_tests_on_all_of_the_other(tmp_path):
    scene = pair()
    for name, tested in (("transfer", np.s_[:, 40:]), ("transfer_back", np.s_[:, :20])):
        split = make_split(scene, name, 0)
        other = np.zeros_like(scene.labels)
        other[tested] = scene.labels[tested]
        assert split.test.tolist() == np.flatnonzero(other).tolist() and split.leakage == 0
        assert (scene.labels.flat[split.train] == split.train_y + 1).all()
        assert np.bincount(split.train_y).max() <= 200
    write_card(tmp_path, replace(scene, name="pavia_pair_visible"))
    card, *_ = read_card([tmp_path], "pavia_pair_visible")  # pages divide it without its files
    assert (split_of(card, "transfer", 3).train == split_of(replace(scene, name=card.name), "transfer", 3).train).all()


@pytest.mark.parametrize("method", ["lens_2k", "perceptron", "scratch"])
def test_what_is_transferred_has_seen_nothing_of_the_other_image(method):
    scene, nets = pair(), []
    split = make_split(scene, "transfer", 0)
    for other in (scene, replace(scene, cube=np.where(np.arange(60)[:, None] < 40, scene.cube, 100 * scene.cube))):
        run = make_run("synthetic_fields_small", "transfer", method, 98 * (method == "scratch"), epochs=1)
        nets.append(get(method).train(Task(run, other, split)).state_dict())
    assert all(torch.equal(nets[0][key], nets[1][key]) for key in nets[0])


@pytest.mark.parametrize("base", ["disjoint", "blocks"])
def test_few_labels_are_nested_and_drawn_from_training_pixels_alone(base):
    scene = load_scene("synthetic_fields_small")
    scene = scene if base == "disjoint" else replace(scene, train_map=None)
    for seed in (0, 3):
        whole = split_of(scene, base, seed)
        splits = [*(split_of(scene, name, seed) for name in FEW), whole]
        for split, more, most in zip(splits, splits[1:], FEW.values()):
            assert set(split.train) <= set(more.train)
            assert (split.test == whole.test).all() and (split.test_y == whole.test_y).all()
            counts = np.minimum(np.bincount(whole.train_y), most)
            assert np.bincount(split.train_y).tolist() == counts.tolist()
    other = split_of(scene, "labels_10", 1)
    assert set(other.train) != set(split_of(scene, "labels_10", 0).train)  # another draw


@pytest.mark.parametrize("name", ["random", "disjoint", "blocks", "buffered"])
def test_leakage_is_what_counting_by_hand_gives(name):
    scene = load_scene("synthetic_fields_small" if name in ("blocks", "buffered") else "synthetic_urban_small")
    split, (h, w) = split_of(scene, name, 1), scene.labels.shape
    mask = np.zeros((h, w), bool)
    mask.flat[split.train] = True
    counts = np.array([[mask[max(r - 9, 0) : r + 10, max(c - 9, 0) : c + 10].sum() for c in range(w)] for r in range(h)])
    assert split.leakage == pytest.approx((counts.ravel()[split.test] > 0).mean())
    assert (split.leakage == 0) == (name in ("blocks", "buffered"))


def test_random_follows_the_seed_and_the_published_map_does_not():
    scene = load_scene("synthetic_fields_small")
    a, b, c = (make_split(scene, "random", seed).train for seed in (0, 0, 1))
    assert (a == b).all() and not np.array_equal(a, c)
    published = make_split(scene, "disjoint", 0)
    assert (published.train == make_split(scene, "disjoint", 9).train).all()
    for name in ("validation", "choice"):  # for choices: training pixels only
        split = make_split(scene, name, 0)
        assert set(split.train) | set(split.test) == set(published.train)


@pytest.mark.parametrize(
    "name, change, says",
    [
        ("disjoint", lambda scene: dict(train_map=0 * scene.train_map), "no training pixel left"),
        ("disjoint", lambda scene: dict(train_map=np.where(scene.train_map == 2, 0, scene.train_map)), "no training pixel of b"),
        ("disjoint", lambda scene: dict(train_map=None), "no published training map"),
        ("random", lambda scene: dict(labels=np.where(scene.labels > 1, 0, scene.labels)), "one class only"),
        ("blocks", lambda scene: dict(labels=scene.labels[:9, :9], cube=scene.cube[:9, :9], train_map=None), "no blocks split"),
        ("transfer", lambda scene: {}, "is one image"),
    ],
)
def test_impossible_splits_are_one_line(name, change, says):
    scene = tiny()
    with pytest.raises(HsiError, match=says):
        make_split(replace(scene, **change(scene)), name, 0)


def test_a_class_without_training_pixels_does_not_stop_the_classical_models():
    scene = replace(tiny(classes=5), train_map=None)
    scene.labels[np.isin(scene.labels, (2, 4))] = 0
    for name in ("rf", "mlr", "svm"):
        task = Task(make_run("synthetic_urban_small", "random", name), scene, make_split(scene, "random", 0))
        model = get(name).train(task)
        scores = scene_scores(model, task.inputs(model.kind))
        assert scores.shape == (132, 5) and set(scores.argmax(1)) <= {0, 2, 4}


def test_pca_is_exact_standardised_and_sign_fixed():
    scene = tiny(bands=6)
    split = make_split(scene, "random", 0)
    pixels = make_inputs(scene, split, "patches", components=3).pixels.numpy()
    assert np.allclose(pixels.mean(0), 0, atol=1e-5) and np.allclose(pixels.std(0), 1, atol=1e-5)
    flat = scene.cube.reshape(-1, 6).astype(float)
    _, _, rows = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    for k in range(3):
        vector = rows[k] * np.sign(rows[k][np.abs(rows[k]).argmax()])
        score = (flat - flat.mean(0)) @ vector
        assert np.allclose(pixels[:, k], score / score.std(), atol=1e-4)


def test_fit_on_training_pixels_does_not_look_at_the_others():
    scene = tiny()
    split = make_split(scene, "random", 0)
    before = make_inputs(scene, split, "bands", fit="train").pixels[split.train]
    other = scene.cube.reshape(-1, 6).copy()
    other[split.test] += 100
    changed = type(scene)("x", "x", other.reshape(scene.cube.shape), scene.labels, scene.classes, scene.train_map)
    assert torch.equal(before, make_inputs(changed, split, "bands", fit="train").pixels[split.train])
    assert not torch.equal(before, make_inputs(changed, split, "bands").pixels[split.train])


def test_patches_are_the_windows_of_the_padded_scene():
    scene = tiny()
    inputs = make_inputs(scene, make_split(scene, "random", 0), "patches", components=4)
    image = np.pad(inputs.pixels.numpy().reshape(12, 11, 4), ((9, 9), (9, 9), (0, 0)))
    index = torch.tensor([0, 10, 37, 131])
    patches = inputs.samples(index).numpy()
    for patch, pixel in zip(patches, index.tolist()):
        r, c = divmod(pixel, 11)
        assert (patch == image[r : r + 19, c : c + 19].transpose(2, 0, 1)).all()


def test_a_constant_band_becomes_zero_and_few_bands_give_as_many_components():
    scene = tiny()
    scene.cube[..., 2] = 5
    split = make_split(scene, "random", 0)
    assert (make_inputs(scene, split, "bands").pixels[:, 2] == 0).all()
    assert make_inputs(scene, split, "patches").pixels.shape[1] == 6


@pytest.mark.parametrize("fit", ["scene", "train"])
@pytest.mark.parametrize("kind", ["bands", "minmax", "patches"])
def test_a_scene_read_by_rows_gives_what_it_gives_in_memory(monkeypatch, kind, fit):
    scene = tiny(h=40, w=30, bands=12)
    scene = replace(scene, there=np.random.default_rng(0).random(scene.labels.shape) < 0.9)
    cube = np.where(scene.there[..., None], scene.cube, np.float32(-99))
    labels = np.where(scene.there, scene.labels, 0).astype(np.uint8)
    scene = replace(scene, cube=np.where(cube == -99, 0, cube), labels=labels, train_map=None)
    monkeypatch.setattr(Image, "strips", lambda self: [(0, 7), (7, 32), (32, 40)])
    large = replace(scene, cube=None, image=replace(of_array(cube, "x"), nodata=-99))
    split = make_split(scene, "random", 0)
    a, b = (make_inputs(made, split, kind, components=5, fit=fit) for made in (scene, large))
    index = torch.arange(a.count)
    there = torch.from_numpy(scene.there.ravel())
    torch.testing.assert_close(a.samples(index)[there], b.samples(index)[there], atol=2e-5, rtol=2e-5)
    assert (a.reduction is None) == (b.reduction is None) and torch.equal(a.there, b.there)
    if kind == "patches":
        net = initialise(CNN2D(5, 3, (3, 3, 3)), 0)
        assert np.allclose(scene_scores(net, a), scene_scores(net, b), atol=1e-4)


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="needs Linux, which measures memory")
@pytest.mark.parametrize("kind", ["bands", "patches"])
def test_a_cube_is_prepared_in_twice_its_memory_at_most(kind):
    """The system measures it: the cube itself counts as one."""
    rng = np.random.default_rng(0)
    cube = np.repeat(rng.random((40, 400, 100), np.float32), 13, 0)  # 83 MB
    labels = np.repeat(np.arange(520)[:, None] // 100 % 2 + 1, 400, 1).astype(np.uint8)
    scene = replace(tiny(), cube=cube, labels=labels, train_map=None)
    split = make_split(scene, "random", 0)
    start = resident(reset=True)
    inputs = make_inputs(scene, split, kind, components=5)
    assert inputs.count == labels.size and resident() - start < cube.nbytes
