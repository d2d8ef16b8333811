"""Bits that flip in the stored weights of a network."""

import json

import numpy as np
import pytest
from bench import upsets
from hsilib.deploy import zoo
from hsilib.deploy.predict import predict
from hsilib.files import project


def test_as_many_bits_flip_as_are_asked_for_and_zeros_that_fill_up_never():
    held = [np.arange(12, dtype=np.int8), np.full(8, -1, np.int8)]
    parts = [(held[0], np.array([0, 1, 2, 4, 5, 6])), (held[1], np.arange(8))]
    old = [part.copy() for part in held]
    before = upsets.flip(parts, 9, np.random.default_rng(0))
    changed = [np.unpackbits((a ^ b).view(np.uint8)) for a, b in zip(held, old)]
    assert sum(bits.sum() for bits in changed) == 9 and (held[0][[3, 7, 8, 9, 10, 11]] == old[0][[3, 7, 8, 9, 10, 11]]).all()
    for array, saved in before:
        array[:] = saved
    assert all((a == b).all() for a, b in zip(held, old))
    upsets.flip(parts, 10_000, np.random.default_rng(0))
    assert (held[1] == 0).all(), "no bit flips twice"


@pytest.mark.parametrize("name", ["lens_5k-int8", "98-int8"])
def test_without_a_flip_the_map_is_that_of_the_file_and_with_many_it_is_not(name):
    path = zoo.FOLDER / f"{upsets.SCENE}-{name}.onnx"
    cube = np.random.default_rng(0).integers(0, 256, (12, 21, 200)).astype(np.float32)
    net = (upsets.Opened if name == "98-int8" else upsets.Written)(path.read_bytes(), cube)
    drawn = predict(path, cube)[0].ravel() - 1
    assert (net.map() == drawn).all()
    before = upsets.flip(list(net.weights.values()), 2000, np.random.default_rng(0))
    assert (net.map() != drawn).mean() > 0.2
    for held, old in before:
        held[:] = old
    assert (net.map() == drawn).all()


def test_what_was_stored_is_of_the_models_to_download():
    told = json.loads((project() / "book" / "results" / "upsets.json").read_text())
    assert set(told) == set(upsets.NETWORKS)
    for name, found in told.items():
        card = json.loads((zoo.FOLDER / f"{upsets.SCENE}-{name}.json").read_text())
        assert found["whole"] == pytest.approx([card["oa"], card["aa30"]], abs=0.1)
        medians = [found["flips"]["all"][str(count)]["oa"][0] for count in upsets.FLIPS]
        assert medians == sorted(medians, reverse=True) and found["whole"][0] - medians[0] < 1
