"""Files as people have them: every format gives the same cube, and a bad file is one line."""

import gzip
import json
import os
import warnings
from dataclasses import replace

import numpy as np
import pytest
import scipy.io
from hsibook.chapter import chapter
from hsilib.__main__ import main
from hsilib.data import damage, formats, own, registry, scenes
from hsilib.data.cards import CLASSES, read_card
from hsilib.data.inputs import make_inputs
from hsilib.data.splits import make_split
from hsilib.errors import HsiError
from hsilib.files import fingerprint
from hsilib.models.evaluate import scene_scores
from hsilib.models.networks import MLP, initialise

H, W, B = 24, 20, 9
CUBE = np.random.default_rng(0).integers(0, 9000, (H, W, B)).astype(np.int16)
LABELS = np.repeat(np.arange(H)[:, None] // 8, W, 1).astype(np.uint8)  # 0, 1, 2
CORNER, STEP = (383472.37, 5818302.35), 30.0
UTM33 = "EPSG:32633"


def envi(path, cube, zipped=False, **fields):
    """Write an ENVI image, band by band, with its header."""
    about = {"samples": cube.shape[1], "lines": cube.shape[0], "bands": cube.shape[2], "data type": 2, "interleave": "bsq"}
    about |= {"byte order": 0, "header offset": 0, "file type": "ENVI Standard"} | ({"file compression": 1} if zipped else {})
    place = f"UTM, 1, 1, {CORNER[0]}, {CORNER[1]}, {STEP}, {STEP}, 33, North, WGS-84, units=Meters"
    data = np.moveaxis(cube, 2, 0).astype("<i2").tobytes()
    path.write_bytes(gzip.compress(data) if zipped else data)
    lines = ["ENVI", *(f"{key} = {value}" for key, value in (about | {"map info": f"{{{place}}}"} | fields).items())]
    path.with_suffix(".hdr").write_text("\n".join(lines) + "\n")
    return path


def geotiff(path, array, **more):
    rasterio = pytest.importorskip("rasterio")
    planes = np.atleast_3d(array)
    transform = rasterio.Affine(STEP, 0, CORNER[0], 0, -STEP, CORNER[1])
    shape = dict(height=planes.shape[0], width=planes.shape[1], count=planes.shape[2])
    profile = dict(driver="GTiff", **shape, dtype=planes.dtype, crs=UTM33, transform=transform)
    with rasterio.open(path, "w", **profile | more) as file:
        file.write(np.moveaxis(planes, 2, 0))
    return path


def written(kind, path):
    """Write the cube in a format, whatever the name of the file."""
    if kind == "GeoTIFF":
        return geotiff(path, CUBE)
    if kind.startswith("ENVI"):
        pytest.importorskip("rasterio")
        return envi(path, CUBE, zipped=kind.endswith("gzip"))
    if kind == "mat 7.3":  # axes in reverse order, behind a text of 512 bytes
        with pytest.importorskip("h5py").File(path, "w", userblock_size=512) as file:
            file["cube"], file["gt"] = CUBE.T, LABELS.T
        with open(path, "r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512, b" "))
        return path
    with open(path, "wb") as file:
        if kind == "npy":
            np.save(file, CUBE)
        elif kind == "npz":
            np.savez(file, other=LABELS, cube=CUBE)
        else:
            scipy.io.savemat(file, {"cube": CUBE, "gt": LABELS})
    return path


def polygons(path, names):
    """Write a box for each class, one beside the other: six columns of the pixels of ``geotiff``, rows 1 to 19."""
    shapes, (east, north) = [], CORNER
    for number, name in enumerate(names):
        a, b = east + 30 + 270 * number, east + 200 + 270 * number
        ring = [[a, north - 30], [b, north - 30], [b, north - 600], [a, north - 600], [a, north - 30]]
        where = {"type": "Polygon", "coordinates": [ring]}
        shapes.append({"type": "Feature", "properties": {"crop": name}, "geometry": where})
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    first = path.with_suffix(".geojson")
    first.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": shapes}))
    if path != first:
        import pyogrio

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            about, _, shape, columns = pyogrio.raw.read(first)
            pyogrio.raw.write(path, shape, columns, about["fields"], geometry_type="Polygon", crs=UTM33)
        first.unlink()
    return path


def own_scene(tmp_path, cube=CUBE, labels=LABELS, **words):
    """Add a scene of two arrays; return what was said."""
    lines = []
    np.save(tmp_path / "cube.npy", cube)
    np.save(tmp_path / "labels.npy", labels)
    own.add_scene("mine", tmp_path / "cube.npy", tmp_path / "labels.npy", say=lines.append, **words)
    return lines


@pytest.mark.parametrize("kind", ["npy", "npz", "mat", "mat 7.3", "GeoTIFF", "ENVI", "ENVI, gzip"])
def test_a_cube_is_read_by_content_whatever_its_suffix(tmp_path, kind):
    image = formats.open_image(written(kind, tmp_path / "cube.img"))
    assert image.shape == CUBE.shape
    assert (image.read(0, H) == CUBE).all() and (image.read(5, 9) == CUBE[5:9]).all()
    placed = kind.startswith(("ENVI", "Geo"))
    assert image.transform == ((STEP, 0, CORNER[0], 0, -STEP, CORNER[1]) if placed else ())
    assert bool(image.crs) == placed


def test_an_envi_header_stands_for_its_image_and_says_what_it_knows(tmp_path):
    pytest.importorskip("rasterio")
    waves = ", ".join(f"{0.4 + 0.1 * i:.1f}" for i in range(B))
    about = {"wavelength units": "Micrometers", "wavelength": f"{{{waves}}}", "data ignore value": -99}
    envi(tmp_path / "a.bsq", CUBE, **about, bbl="{1, 1, 0, 1, 1, 1, 1, 1, 0}")
    image = formats.open_image(tmp_path / "a.hdr")
    assert image.wavelengths == (400, 500, 700, 800, 900, 1000, 1100) and image.shape == (H, W, 7)
    assert image.bad == (2, 8) and image.nodata == -99
    assert replace(image, bad=()).rows(0, H)[0].shape == CUBE.shape  # as predict has it, of a network of all bands


def test_without_rasterio_one_line_says_what_to_install(tmp_path, monkeypatch):
    envi(tmp_path / "a.bsq", CUBE)
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    with pytest.raises(HsiError, match="needs rasterio, which is not installed: pip install rasterio"):
        formats.open_image(tmp_path / "a.bsq")


@pytest.fixture
def berlin(tmp_path):
    """What adds an own scene with wavelengths, bad bands, pixels without data and a place on the ground."""
    pytest.importorskip("rasterio")
    cube = CUBE.copy()
    cube[:, :3] = -99
    waves = ", ".join(f"{430 + 30 * i}" for i in range(B))
    about = {"wavelength units": "Nanometers", "wavelength": f"{{{waves}}}", "data ignore value": -99}
    envi(tmp_path / "a.bsq", cube, **about, bbl="{1, 1, 0, 1, 1, 1, 1, 1, 1}")
    np.save(tmp_path / "labels.npy", LABELS)

    def add(**more):
        own.add_scene("mine", tmp_path / "a.hdr", tmp_path / "labels.npy", say=lambda text: None, **more)
        return scenes.load_scene("mine")

    return add


def test_bad_bands_masks_wavelengths_and_place_are_kept_and_used(tmp_path, berlin):
    scene = berlin()
    assert scene.cube.shape == (H, W, B - 1) and scene.wavelengths == (430, 460, 520, 550, 580, 610, 640, 670)
    assert scene.rgb == (6, 3, 1)  # 640, 550 and 460 nm
    assert scene.transform == (STEP, 0, CORNER[0], 0, -STEP, CORNER[1])
    assert not scene.there[:, :3].any() and scene.there[:, 3:].all() and not scene.labels[:, :3].any()
    card, rgb, spectra = read_card([tmp_path / "card"], "mine")
    assert card.wavelengths == scene.wavelengths and not rgb[:, :3].any() and len(spectra) == B - 1


def test_pixels_without_data_neither_train_nor_count(berlin):
    scene = berlin()
    split, there = make_split(scene, "random", 0), scene.there.ravel()
    assert there[split.train].all() and there[split.test].all()
    for kind in ("bands", "patches"):
        values = make_inputs(scene, split, kind).pixels.numpy()
        assert np.allclose(values[there].mean(0), 0, atol=1e-5) and not values[~there].any()
    scores = scene_scores(initialise(MLP(B - 1, 2), 0), make_inputs(scene, split, "bands"))
    assert (scores.any(1) == there).all()


def test_a_training_map_gives_a_disjoint_split_and_another_identity(tmp_path, berlin):
    berlin()
    first = registry.identity("mine")
    np.save(tmp_path / "train.npy", np.where(np.arange(W) < 8, LABELS, 0))
    split = make_split(berlin(train=tmp_path / "train.npy"), "disjoint", 0)
    assert (split.train % W < 8).all() and (split.test % W >= 8).all() and registry.identity("mine") != first


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "geojson"])
def test_polygons_are_burnt_into_the_pixels_whose_centres_they_hold(tmp_path, suffix):
    pytest.importorskip("pyogrio")
    own.add_scene("mine", geotiff(tmp_path / "cube.tif", CUBE), polygons(tmp_path / f"fields.{suffix}", ["wheat", "oats"]))
    scene, want = scenes.load_scene("mine"), np.zeros((H, W), int)
    want[1:20, 1:7], want[1:20, 10:16] = 2, 1
    assert scene.classes == ("oats", "wheat") and (scene.labels == want).all()
    own.remove("mine")
    assert "mine" not in registry.names() and not list(tmp_path.glob("own/*"))


@pytest.mark.parametrize(
    "cube, labels, more, says",
    [
        (np.where(np.arange(W)[:, None] < 3, -9999, CUBE), LABELS, {}, "15 % of the pixels hold -9999 in every band"),
        (np.ones_like(CUBE), LABELS, {}, "all values are 1"),
        (CUBE, LABELS, {"classes": ["a", "a"]}, "two classes are called 'a'"),
        (CUBE, LABELS, {"classes": ["a", " "]}, "class 2 has no name"),
        (np.moveaxis(CUBE, 2, 0), LABELS, {}, "bands come first"),
        (np.moveaxis(CUBE, 2, 1), LABELS, {}, "bands come second"),
        (CUBE, LABELS.T, {}, "the map is turned"),
        (np.full_like(CUBE, -1), LABELS, {"nodata": -1}, "every pixel holds -1"),
        (np.full(CUBE.shape, np.nan), LABELS, {}, "NaN"),
        (CUBE, np.ones((5, 5), int), {}, "label map has shape"),
        (CUBE, np.zeros((H, W), int), {}, "no labelled pixel"),
        (CUBE[0], LABELS, {}, "expected .rows, columns, bands."),
        (np.zeros((H, W, 0)), LABELS, {}, "it is empty"),
        (np.full(CUBE.shape, "x"), LABELS, {}, "expected real numbers"),
        (CUBE, np.full((H, W), -1), {}, "whole numbers"),
        (CUBE, LABELS, {"classes": ["a"]}, "labels up to 2, but 1 class names"),
        (CUBE, LABELS, {"nodata": np.inf}, "nodata must be a number"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(tmp_path, cube, labels, more, says):
    with pytest.raises(HsiError, match=says) as error:
        own_scene(tmp_path, cube, labels, **more)
    assert "\n" not in str(error.value) and not list(tmp_path.glob("own/*"))


RISE = np.sin(np.linspace(0, 3, 60)) * 2000 + np.random.default_rng(0).normal(size=(H, W, 1)) * 300 - 200  # slow


@pytest.mark.parametrize(
    "cube, says",
    [
        (RISE.astype(">i2").view("<i2"), "its bytes in the other order"), (RISE.astype("<i2").view("<u2"), "as signed numbers"),
        (RISE.astype(">i2"), ""),
    ],
)
def test_numbers_read_wrongly_are_told(tmp_path, cube, says):
    notes = [line for line in own_scene(tmp_path, cube) if line.startswith("note")]
    assert len(notes) == bool(says) and says in "".join(notes)


def test_a_class_of_one_pixel_and_an_empty_class_are_told(tmp_path):
    labels = LABELS.copy()
    labels[0, 0] = 3
    lines = own_scene(tmp_path, labels=labels, classes=["a", "b", "c", "d"])
    assert lines[:2] == ["note: no split can divide a class of one pixel: c", "note: no pixel of: d"]
    assert lines[2] == "labelled pixels: a 160, b 160, c 1, d 0"


def test_an_own_scene_is_its_content(tmp_path, monkeypatch):
    """Another cube under the old name is refused until it is added again, and is another scene then."""
    before = set(registry.names())
    own_scene(tmp_path)
    assert set(registry.names()) - before == {"mine"} and scenes.load_scene("mine").cube.shape == CUBE.shape
    first = registry.identity("mine")
    np.save(tmp_path / "cube.npy", CUBE[::-1])
    (tmp_path / "cube.npy.sha256").write_text(fingerprint(tmp_path / "cube.npy"))  # no way around it
    os.utime(tmp_path / "cube.npy", ns=(1, 1))
    for use in (registry.identity, scenes.load_scene):
        scenes.load_scene.cache_clear()
        with pytest.raises(HsiError, match="cube.npy: it is another file than when the scene was added"):
            use("mine")
    own_scene(tmp_path, CUBE[::-1])
    second = registry.identity("mine")
    own_scene(tmp_path, CUBE[::-1], classes=["a", "b", "c"])
    assert len({first, second, registry.identity("mine")}) == 3  # class names count, too
    (tmp_path / "cube.npy").rename(tmp_path / "moved.npy")
    with pytest.raises(HsiError, match=f"scene mine: {tmp_path}/cube.npy is not there; put it back, or add"):
        scenes.load_scene("mine")
    monkeypatch.delenv("HSILIB_DATA")
    assert "mine" in registry.names()


# ------------------------------------------------------------------------------------------------ lost bytes


def a_cube_of_16_bits(noise=3.0):
    rng = np.random.default_rng(0)
    base = rng.normal(size=(60, 50, 3)) @ rng.normal(size=(3, 40)) * 150 + np.linspace(1500, 5000, 40)
    return (base + rng.normal(size=base.shape) * noise).clip(0, 60000).astype(np.uint16)


def test_lost_bytes_are_found_and_repaired_where_that_is_certain():
    sound = a_cube_of_16_bits()
    hurt = damage.text_mode(sound.astype(int)).astype(np.uint16)
    assert not damage.look(sound).damaged and damage.look(hurt).damaged
    mended, right, still = damage.repair(hurt)
    high, low = sound >> 8 == 13, sound & 255 == 13
    touched = mended != hurt
    assert right == touched.sum() > 0.5 * high.sum() and not touched[~high].any()
    assert (mended[touched & ~low] == sound[touched & ~low]).all()
    assert still <= (hurt >> 8 == 10).sum() - right
    hurt = damage.text_mode(a_cube_of_16_bits(noise=4000.0).astype(int))
    mended, right, still = damage.repair(hurt)  # nothing is certain
    assert right == 0 and (mended == hurt).all() and still > 0


def test_the_command_tells_lost_bytes_and_writes_the_repaired_copy(tmp_path, capsys):
    sound = a_cube_of_16_bits()
    hurt = damage.text_mode(sound.astype(int)).astype(np.uint16)
    for name, cube, code, says in (
        ("sound", sound, 0, "no sign of missing bytes"), ("scaled", sound / 7, 2, "not whole numbers of 16 bits"),
        ("hurt", hurt, 0, "damaged as a transfer in text mode does it"),
    ):
        np.save(tmp_path / f"{name}.npy", cube)
        words = ["scenes", "--check", str(tmp_path / f"{name}.npy"), "--repair", str(tmp_path / "mended.npy")]
        assert main(words) == code and says in "".join(capsys.readouterr())
    assert (np.load(tmp_path / "mended.npy") != hurt).any()


@pytest.mark.data
def test_the_public_copy_of_indian_pines_has_lost_bytes_which_are_repaired_rightly(real_data):
    files = {"indian_pines/Indian_part.mat": "X", "indian_pines/IP_200_M.mat": "", "salinas_a/SalinasA_corrected.mat": ""}
    for name, key in files.items():
        cube = formats.read_array(registry.locate(registry.File(name, key), "x"), key, 3)
        assert damage.look(cube).damaged == (key == "X")
    sound, hurt = (scenes.load_scene(f"indian_pines_{name}").cube.astype(int) for name in ("undamaged", "rebuilt"))
    mended, right, _ = damage.repair(hurt)
    high = sound >> 8 == 13
    assert (mended != hurt)[high].sum() == right > 0.9 * high.sum() and (mended == hurt)[~high].all()


@pytest.mark.data
def test_enmap_berlin_comes_with_all_that_its_files_say_and_is_mapped_in_its_place(real_data, capsys, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    folder = registry.locate(registry.File("EnMAP_BerlinUrbanGradient.bsq", ""), "x").parent
    files = [str(folder / f"{name}") for name in ("EnMAP_BerlinUrbanGradient.bsq", "LandCov_BerlinUrbanGradient.shp")]
    assert main(["scenes", "--add", "berlin", *files, "--label-key", "Level_2"]) == 0
    assert "460 to 2409 nm" in capsys.readouterr().out
    scene = scenes.load_scene("berlin")
    assert scene.cube.shape == (80, 60, 177) and len(scene.classes) == 6 and scene.transform[0] == 30
    assert 0.15 < (scene.labels > 0).mean() < 0.19
    target = str(tmp_path / "berlin")
    assert main(["map", "mlp", "--scene", "berlin", "--split", "random", "--epochs", "1", "--output", target]) == 0
    with rasterio.open(f"{target}.tif") as file, rasterio.open(f"{target}-confidence.tif") as sure:
        assert (round(file.bounds.left, 2), round(file.bounds.top, 2)) == (383472.37, 5818302.35)
        assert file.crs.to_epsg() == 32633 and file.colormap(1)[1][:3] == CLASSES[1]
        assert file.tags(1)["CLASS_3"] == "Pavement" and set(np.unique(file.read(1))) <= set(range(1, 7))
        assert 1 / 6 <= sure.read(1).min() <= sure.read(1).max() <= 1
    assert main(["scenes", "--remove", "berlin"]) == 0 and "berlin" not in registry.names()
    assert "UTM" in scene.crs


def test_a_scene_of_nine_bands_runs_what_can_run_on_it_and_says_what_cannot(tmp_path, capsys):
    own_scene(tmp_path)
    c = chapter("baselines", scene="mine", budget="smoke")
    assert c.scene == "mine" and c.components == 9
    assert not {"cnn1d", "cnn3d"} & set(c.names) and {"svm", "cnn2d"} <= set(c.names)
    with pytest.raises(HsiError, match="no method of this chapter can run on it .CNN1D: it needs 28 bands"):
        chapter("baselines", scene="mine", methods=["cnn1d"], budget="smoke")


@pytest.mark.parametrize(
    "change, says",
    [(None, "no JSON"), ([], "list indices"), ({"url": "x"}, "'url'"), ({"classes": ["a", "a"]}, "classes must be")],
)
def test_a_damaged_description_is_one_line_and_hides_no_other(tmp_path, capsys, change, says):
    own_scene(tmp_path)
    path = tmp_path / "own" / "mine.scene.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | {"nodata": float("nan")}))
    assert np.isnan(registry.entry("mine").nodata), "as in many GeoTIFFs"
    path.write_text("{" if change is None else json.dumps(change and whole | change))
    with pytest.raises(HsiError, match=f"damaged .*{says}.*; add the scene again") as error:
        registry.entry("mine")
    assert "\n" not in str(error.value) and main(["scenes"]) == 0
    out = capsys.readouterr().out
    assert "synthetic_fields" in out and "mine.scene.json: damaged (" in out


@pytest.mark.parametrize("packed", [True, False])
def test_arrays_of_matlab_are_those_that_scipy_reads(packed, tmp_path):
    """Every type of numbers, beside what is no array of numbers."""
    rng, path = np.random.default_rng(0), tmp_path / "all.mat"
    made = {f"array_{kind}": (50 * rng.normal(size=(7, 5, 3))).astype(kind) for kind in "f8 f4 i1 u1 i2 u2 i4 u4 i8 u8".split()}
    made |= {"one": 3.0, "a_name_of_more_than_four_bytes": np.arange(3, dtype="u1")[None]}
    other = {"words": "abc", "cell": np.array([1, "a"], object), "table": {"a": 1}, "complex": np.ones((2, 2)) * 1j}
    scipy.io.savemat(path, made | other, do_compression=packed)
    with pytest.raises(HsiError, match="no usable array 'words'"):
        formats.read_array(path, "words")
    for name, array in made.items():
        read = formats.read_array(path, name)
        assert read.shape == np.atleast_2d(array).shape and (read == array).all()
        assert read.dtype == np.asarray(array).dtype or name == "one"


def test_a_file_on_which_scipys_reader_ends_the_process_is_refused(tmp_path):
    data = bytearray(written("mat", tmp_path / "cube.mat").read_bytes())
    data[184] = 255  # a type of values that there is not
    (tmp_path / "cube.mat").write_bytes(data)
    with pytest.raises(HsiError, match="cannot be read"):
        formats.read_array(tmp_path / "cube.mat", "cube")
