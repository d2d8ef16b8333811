"""From a trained network to one ONNX file that classifies raw spectra.

The file holds all that this takes: the mean spectrum, the principal components, the standardisation, the
padding, the network in 32 bits or in integers, and the names of the classes.  Its input is ``cube``
(H, W, bands) of any size; its outputs are ``map`` (H, W), 1-based, and ``scores`` (K, H, W).  Reading one
needs onnxruntime and numpy only.
"""

from pathlib import Path

from torch import nn

from hsilib.data.formats import needs
from hsilib.data.inputs import Inputs
from hsilib.data.scenes import Scene
from hsilib.deploy import contract
from hsilib.deploy.predict import vetted
from hsilib.deploy.trace import traced
from hsilib.errors import HsiError
from hsilib.files import write_atomically
from hsilib.identity import Run
from hsilib.methods.compact.filters import After
from hsilib.methods.quantize.integer import Int8CNN2D
from hsilib.models.networks import CNN2D
from hsilib.study.execute import task_of, trained

ONLY = "only networks of bands, of windows with an exact dense form, and of CNN2D's shape can"


def graph_of(run: Run, tile: tuple[int, int] | None = None) -> bytes:
    """Return the trained network of a run as an ONNX file; the network is trained if need be."""
    if run.method in ("rf", "mlr", "svm", "cnn3d"):  # before it is trained
        raise HsiError(f"{run.method} cannot be exported: {ONLY}")
    needs("onnx", "an ONNX file")  # before it is trained
    model, task = trained(run), task_of(run)
    return _graph(model, task.scene, task.inputs(model.kind), run.method, tile, model=str(run), run=run.id)


def _graph(net, scene, inputs, name, tile=None, **said):
    """Write a network with what it was given of its scene; what ``predict`` would refuse is not written."""
    if isinstance(net, After) and not hasattr(net.net, "dense"):
        says = "filtered scores of a network of spectra have no graph; export that network and filter its map"
        raise HsiError(f"{name} cannot be exported: {says}")
    whole = net.kind == "bands" or net.kind == "windows" and hasattr(net, "dense")
    if not isinstance(net, nn.Module) or not (whole or isinstance(net, Int8CNN2D) or type(net) is CNN2D):
        raise HsiError(f"{name} cannot be exported: {ONLY}")
    metadata = dict(scene=scene.name, **said, **contract.of_scene(scene))
    made = traced(net.cpu(), inputs.reduction, scene.classes, tile, **metadata)
    return vetted(made, f"{name} cannot be exported")


def export(
    run: Run | nn.Module, path: Path | str, scene: Scene | None = None, inputs: Inputs | None = None
) -> int:
    """Write a trained network as a classifier of raw spectra, and return how many bytes that took.

    That of a run is trained if need be.  One that you trained comes with its scene and what it was given of
    it.

    >>> run = make_run("synthetic_fields_small", "disjoint", "static", ratio=98, epochs=5)
    >>> size = export(run, "model.onnx")
    """
    if Path(path).is_dir():
        raise HsiError(f"{path} is a folder; name the file to be written")
    if isinstance(run, Run):
        made = graph_of(run)
    elif scene is None or inputs is None:
        raise HsiError("a network is exported with its scene and inputs: export(net, path, scene, inputs)")
    else:
        made = _graph(run.eval(), scene, inputs, type(run).__name__, model=type(run).__name__)
    write_atomically(path, made)
    return len(made)
