"""The example of a line scanner, against the map of the exported file."""

import shutil
import subprocess
import zipfile

import numpy as np
import pytest
import torch
from hsilib.data.scenes import load_scene
from hsilib.deploy import zoo
from hsilib.deploy.predict import predict
from hsilib.files import project
from hsilib.methods.compact.filters import smoothed

from conftest import WARNINGS

HEADER = """ENVI
description = {{bil}}
default bands = {{30,20,10}}
samples = {}
lines = {}
bands = {}
header offset = 3
data type = {}
interleave = {}
byte order = 0
"""
pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")


def mapped(name, cube, order, folder, kind=1, vote=1):
    """Build the example with the C of a model, and give it a scene."""
    with zipfile.ZipFile(zoo.FOLDER / f"{name}-c.zip") as file:
        file.extractall(folder)
    code = project() / "examples" / "onboard" / "onboard.c"
    command = ["gcc", *WARNINGS, "-O2", f"-DVOTE_SIZE={vote}", "-I", folder, code, folder / "network.c", "-o", folder / "onboard"]
    subprocess.run(command, check=True)
    lines, width, bands = cube.shape
    (folder / "scene.hdr").write_text(HEADER.format(width, lines, bands, kind, order))
    scene = b"abc" + (cube if order == "bip" else cube.transpose(0, 2, 1)).astype(np.uint8).tobytes()
    return subprocess.run([folder / "onboard", folder / "scene.hdr"], input=scene, capture_output=True)


def the_map_is_that_of_the_file(name, cube, order, folder, vote=1):
    head, drawn = mapped(name, cube, order, folder, vote=vote).stdout.split(b"255\n", 1)
    assert head == "P5\n{1} {0}\n".format(*cube.shape).encode()
    classes = torch.from_numpy(predict(zoo.FOLDER / f"{name}.onnx", cube)[0].astype(int)) - 1
    scores = torch.nn.functional.one_hot(classes).permute(2, 0, 1).float()
    want = smoothed(scores, torch.ones(1, 1, *classes.shape), 1, vote).argmax(0) + 1
    assert (np.frombuffer(drawn, np.uint8) == want.numpy().ravel()).all()


@pytest.mark.parametrize("order", ["bip", "bil"])
def test_lines_from_standard_input_become_the_map_of_the_file(order, tmp_path):
    cube, name = np.random.default_rng(0).integers(0, 256, (21, 30, 200)).astype(np.float32), "indian_pines_8bit-lens_5k-int8"
    the_map_is_that_of_the_file(name, cube, order, tmp_path)
    refused = mapped(name, cube, order, tmp_path, kind=12)
    assert refused.returncode == 2 and refused.stdout == b"" and b"values are of another type" in refused.stderr
    assert b"must be bip or bil" in mapped(name, cube, "bsq", tmp_path).stderr


@pytest.mark.parametrize("shape, vote", [((21, 30), 9), ((3, 4), 9), ((1, 1), 5), ((20, 7), 15)])
def test_a_vote_after_the_network_is_that_of_the_library(shape, vote, tmp_path):
    cube = np.random.default_rng(0).integers(0, 256, (*shape, 200)).astype(np.float32)
    the_map_is_that_of_the_file("indian_pines_8bit-perceptron-int8", cube, "bip", tmp_path, vote)


def test_the_whole_scene_through_the_example(real_data, tmp_path):
    cube = load_scene("indian_pines_8bit").cube
    the_map_is_that_of_the_file("indian_pines_8bit-lens-int8", cube, "bil", tmp_path)
    the_map_is_that_of_the_file("indian_pines_8bit-perceptron-int8", cube, "bip", tmp_path, vote=9)
