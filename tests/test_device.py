"""The C of a network on an emulated microcontroller."""

import importlib.util
import json

import pytest
from hsibook.apps import on_device, streamed, takes
from hsilib.deploy import zoo
from hsilib.deploy.stream import STACK
from hsilib.files import project

FOLDER = project() / "book" / "bench" / "device"
COUNTED = json.loads((project() / "book" / "results" / "device.json").read_text())


@pytest.fixture
def device():
    spec = importlib.util.spec_from_file_location("device", FOLDER / "device.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["lens_5k", "perceptron"])
def test_an_emulated_microcontroller_gives_the_same_classes(name, device, monkeypatch):
    if device.missing():
        pytest.skip(f"needs {device.missing()}")
    name = f"indian_pines_8bit-{name}-int8"
    monkeypatch.setattr(device, "LEVELS", ["-O2"])
    monkeypatch.setattr(device, "CORES", {"cortex-m4": "mps2-an386"})
    monkeypatch.setattr(device, "LINES", 12)
    found = device.measure(zoo.FOLDER / f"{name}-c.zip", (zoo.FOLDER / f"{name}.onnx").read_bytes())
    counts, said = found["cortex-m4"]["-O2"], json.loads((zoo.FOLDER / f"{name}.json").read_text())["c"]
    assert counts["wrong"] == 0 and counts["static"] == 0 and found["state"] == said["state"]
    assert counts["instructions"] < 30_000
    # painted, and as the compiler tells it: they differ by what the two compilers and the caller keep
    assert abs(counts["stack"] - said["stack"]) < 128 or not said["by"].startswith("Cortex-M4")


def test_what_was_counted_is_of_the_models_to_download_and_wrong_nowhere():
    told = COUNTED["networks"]
    assert set(told) == {path.name.removesuffix("-c.zip") for path in zoo.FOLDER.glob("*-c.zip")}
    for name, found in told.items():
        assert found["state"] == json.loads((zoo.FOLDER / f"{name}.json").read_text())["c"]["state"]
        counts = [one for core in ("cortex-m4", "cortex-m7") for one in found[core].values()]
        assert {one["wrong"] for one in counts} == {0} and max(one["stack"] for one in counts) < 4096
    lens, small = (told[f"indian_pines_8bit-{name}-int8"] for name in ("lens", "lens_5k"))
    assert lens["cortex-m4"]["-O3"]["instructions"] <= 32_000 and small["cortex-m4"]["-O3"]["instructions"] <= 16_000
    assert lens["state"]["64"] <= 45_000 and lens["state"]["145"] <= 100_000
    assert small["state"]["64"] <= 26_000 and small["state"]["145"] <= 56_000


def test_the_chooser_knows_the_ram_of_networks_whose_file_is_offered_and_of_others():
    """Of others with the stack that is set aside where no compiler measures it."""
    scene, offered = "indian_pines_8bit", on_device("indian_pines_8bit-lens_5k-int8")
    known = streamed(scene, "lens_5k")
    assert offered["ram64"] <= 40_000 < offered["ram"]
    built = COUNTED["networks"]["indian_pines_8bit-lens_5k-int8"]["cortex-m4"]["-O2"]  # whose flash is told
    assert offered["instructions"] == built["instructions"] < 22_000
    assert 0 < known["ram64"] - offered["ram64"] == known["ram"] - offered["ram"] < STACK
    assert streamed(scene, "liunet") == streamed(scene, "lens_taught") == {}
    row = {"scene": scene, "payload": 1, "macs": 1, "method": "static", "options": "of=lens_5k"}
    assert takes(row)["ram64"] == known["ram64"] and takes(row)["flash"] is None
    # a vote behind it takes its lines of classes, and its code
    options, code = "int8=True of=lens_taught vote=9", on_device("indian_pines_8bit-lens-int8")
    row = row | {"payload": 9337, "macs": 1841620, "method": "filtered", "options": options}
    assert takes(row)["ram"] == code["ram"] + 9 * 145 + 16 and 0 < takes(row)["flash"] - code["flash"] < 512
    assert not any(takes(row | {"options": other})["flash"] for other in ("of=lens_taught vote=9", options + " after=3"))
    assert takes(row | {"payload": 1, "method": "lens_5k", "options": ""})["ram64"] is None, "in 32 bits it has no such C"


def test_what_checking_and_mending_weights_takes_was_counted(device):
    assert COUNTED["mending"]["wrong"] == 0 and COUNTED["mending"]["instructions"] < 20_000
    lens = COUNTED["networks"]["indian_pines_8bit-lens-int8"]["cortex-m4"]["-O3"]["instructions"]
    assert lens < sum(COUNTED["CMSIS-NN"].values()), "its layers, without what lies between them"
    if not device.missing():
        assert device.mending() == COUNTED["mending"]


def test_without_an_emulator_it_says_what_is_missing(device, monkeypatch, capsys):
    monkeypatch.setattr(device.shutil, "which", lambda tool: None)
    assert device.main() == 0
    assert "skipped: qemu-system-arm, arm-none-eabi-gcc not here (Debian: " in capsys.readouterr().out
