"""Maps as files: PNG and .npy, and GeoTIFF where the scene has a place on the ground."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np

from hsilib.data.cards import CLASSES, png
from hsilib.data.formats import needs
from hsilib.files import readable, write_array, write_atomically
from hsilib.identity import Run

if TYPE_CHECKING:
    from hsilib.study.store import Store


def confidence(run: Run, store: "Store") -> np.ndarray | None:
    """Return how sure the network of a run is of each pixel (H, W): the largest share of softmax.

    It is 0 where there is no data.  The scores of a classical model are no such shares: it has none.
    """
    from torch import nn  # here: to predict from a file, which writes maps too, needs no torch

    from hsilib.models.evaluate import scene_scores
    from hsilib.study.execute import task_of, trained

    task, model = task_of(run, store), trained(run, store)
    if not isinstance(model, nn.Module):
        return None
    scores = scene_scores(model, task.inputs(model.kind))
    sure = 1 / np.exp(scores - scores.max(1, keepdims=True)).sum(1).reshape(task.scene.labels.shape)
    return sure if task.scene.there is None else np.where(task.scene.there, sure, 0)


def write_map(
    base: Path | str, labels: np.ndarray, confidence: np.ndarray | None, classes: Sequence[str],
    crs: str = "", transform: Sequence[float] = (),
) -> list[str]:
    """Write a class map (H, W) to ``base`` and a suffix each, and return the names of the files.

    With a ``transform``: a GeoTIFF of the classes too, with colours and names, and one of the confidence.

    >>> write_map("my-map", labels, None, ["wheat", "oats"])
    ['my-map.png', 'my-map.npy']
    """
    write_atomically(f"{base}.png", png(labels))
    write_array(f"{base}.npy", labels)
    files = [f"{base}.png", f"{base}.npy"]
    if not transform:
        return files
    colours = {i: (*colour, 255) for i, colour in enumerate(CLASSES[: len(classes) + 1])}
    _geotiff(f"{base}.tif", labels.astype(np.uint8), crs, transform, 0, classes, colours)
    named = "".join(f"<Category>{escape(name)}</Category>" for name in ["none", *classes])
    named = f'<PAMRasterBand band="1"><CategoryNames>{named}</CategoryNames></PAMRasterBand>'
    write_atomically(f"{base}.tif.aux.xml", f"<PAMDataset>{named}</PAMDataset>\n")  # GDAL and QGIS read it
    files.append(f"{base}.tif")
    if confidence is not None:
        _geotiff(f"{base}-confidence.tif", confidence.astype(np.float32), crs, transform)
        files.append(f"{base}-confidence.tif")
    return files


def _geotiff(path, array, crs, transform, nodata=None, classes=(), colours=None):
    rasterio = needs("rasterio", f"{path}: a GeoTIFF")
    h, w = array.shape
    about = dict(driver="GTiff", height=h, width=w, count=1, dtype=array.dtype, compress="deflate")
    about |= dict(crs=crs or None, transform=rasterio.Affine(*transform), nodata=nodata)
    with readable(f"{path}: cannot be written"), rasterio.MemoryFile() as memory:
        with memory.open(**about) as file:
            file.write(array, 1)
            if colours:
                file.write_colormap(1, colours)
                file.set_band_description(1, "class")
                file.update_tags(1, **{f"CLASS_{i}": name for i, name in enumerate(classes, 1)})
        write_atomically(path, memory.read())
