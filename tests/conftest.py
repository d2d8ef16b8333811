import os

import numpy as np
import pytest
import scipy.io

os.environ.setdefault("OMP_NUM_THREADS", "1")
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-pedantic")  # that streams in C are free of


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Every test has a cache and a store of its own; real data only through ``real_data``."""
    from hsilib.data.scenes import load_scene

    monkeypatch.setenv("HSILIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HSILIB_RESULTS", str(tmp_path / "store"))
    monkeypatch.setenv("HSILIB_PUBLISHED", "")  # its rows would be read beside
    monkeypatch.setenv("HSILIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HSILIB_OWN", str(tmp_path / "own"))
    (tmp_path / "data").mkdir()
    load_scene.cache_clear()


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory):
    """A folder for cache and store that tests share which train the same networks, in all processes of pytest-xdist."""
    folder = tmp_path_factory.getbasetemp()
    return (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "shared"


@pytest.fixture
def shared(trained_once, own_folders, monkeypatch):
    """Networks that another such test trained are there."""
    monkeypatch.setenv("HSILIB_CACHE", str(trained_once / "cache"))
    monkeypatch.setenv("HSILIB_RESULTS", str(trained_once / "store"))


@pytest.fixture
def registered():
    """Forget what a test registers."""
    from hsilib.methods import METHODS
    from hsilib.models.networks import NETWORKS

    before = dict(METHODS), dict(NETWORKS)
    yield
    for now, then in zip((METHODS, NETWORKS), before):
        now.clear()
        now.update(then)


@pytest.fixture
def real_data(monkeypatch, request):
    """The folder of real scenes named by HSILIB_DATA when the tests were started, or a skip that says so."""
    folder = REAL or ""
    if not folder or not os.path.isdir(folder):
        pytest.skip("needs real scene files: set HSILIB_DATA to their folder")
    monkeypatch.setenv("HSILIB_DATA", folder)


REAL = os.environ.get("HSILIB_DATA")


@pytest.fixture
def pavia(tmp_path):
    """A Pavia-shaped scene under the real file and key names, written from the synthetic one."""
    from hsilib.data import registry, synthetic
    from hsilib.files import fingerprint

    made = synthetic.make("synthetic_urban")
    about = registry.REGISTRY["pavia_university"]
    for file, array in (
        (about.cube[0], made["cube"]),
        (about.labels, made["labels"]),
        (about.train, made["train_map"]),
        (about.test, made["test_map"]),
    ):
        path = tmp_path / "data" / file.name
        scipy.io.savemat(path, {file.key: array})
        path.with_name(path.name + ".sha256").write_text(fingerprint(path))
    return made


def tiny(seed=0, h=12, w=11, bands=6, classes=3):
    """A scene small enough to check by hand."""
    from hsilib.data.scenes import Scene

    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes + 1, (h, w)).astype(np.uint8)
    train = np.where(rng.random((h, w)) < 0.3, labels, 0).astype(np.uint8)
    return Scene("tiny", "tiny", rng.normal(size=(h, w, bands)).astype(np.float32), labels, tuple("abcde"[:classes]), train)


def after_training(net, seed=0):
    """Draw weights, and give a network biases and batch norms that look as after training."""
    import torch
    from hsilib.models.measure import BATCH_NORMS
    from hsilib.models.networks import initialise

    initialise(net, seed)
    scales = {f"{name}.weight" for name, module in net.named_modules() if isinstance(module, BATCH_NORMS)}
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if "bias" in name or "running_mean" in name:
                value.copy_(0.3 * torch.randn(value.shape, generator=generator))
            elif "running_var" in name or name in scales:
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    return net.eval()


def worn(bands=40, classes=16, widths=(50, 100, 100), batch_norm=True, seed=0):
    """A CNN2D as after training."""
    from hsilib.models.networks import CNN2D

    return after_training(CNN2D(bands, classes, widths, batch_norm), seed)


def logits(net, seed=1, n=7):
    import torch

    with torch.no_grad():
        return net.eval()(torch.randn(n, net.config["bands"], 19, 19, generator=torch.Generator().manual_seed(seed))).logits
