import io
import json
import zipfile

import numpy as np
import pytest
import scipy.io
import torch
from hsibook.pack import errata, write_pack
from hsilib.data import registry, scenes, synthetic
from hsilib.data.formats import label_map, read_array
from hsilib.data.inputs import make_inputs
from hsilib.data.splits import FEW, TRANSFER, make_split, near
from hsilib.errors import HsiError
from hsilib.files import fingerprint
from hsilib.methods.task import Task
from hsilib.models.evaluate import pixel_scores, scene_scores
from hsilib.models.measure import parameters
from hsilib.models.networks import CNN2D, MLP, initialise
from hsilib.study.runs import make_run, plan
from PIL import Image

from conftest import tiny


@pytest.mark.parametrize("name", synthetic.SCENES)
def test_synthetic_scenes_have_the_promised_shape_and_every_split(name):
    scene = scenes.load_scene(name)
    _, h, w, bands, classes, *_ = synthetic.SCENES[name]
    assert scene.cube.shape == (h, w, bands) and scene.labels.max() == classes and scene.synthetic
    assert set(np.unique(scene.train_map)) == set(range(classes + 1))  # every class is trained
    assert ((scene.labels > 0) | (scene.train_map == 0)).all()
    for split in ("random", "disjoint", "validation"):
        make_split(scene, split, 0)
    assert (scene.labels == 0).mean() > 0.1  # unlabelled gaps
    sizes = np.bincount(scene.labels.ravel())[1:]
    assert sizes.max() > 5 * sizes.min()  # rare classes
    again = synthetic.make(name)
    assert (again["cube"] == scene.cube).all() and (again["labels"] == scene.labels).all()


@pytest.mark.parametrize("shape, names, says", [
    ((9, 8), "ab", r"labels has the shape \(9, 8\), the cube \(8, 9, 5\)"),
    ((8, 9), "a", "label 2 but only 1 class names"),
])
def test_a_scene_of_arrays_that_do_not_fit_is_one_line(shape, names, says):
    with pytest.raises(HsiError, match=says):
        scenes.Scene("field", "A field", np.zeros((8, 9, 5)), np.full(shape, 2, np.uint8), tuple(names))


def test_the_registry_is_complete():
    says = "a scene was added or taken out: name its source in notebooks/02-scenes.md, then count it here"
    assert len(registry.REGISTRY) == 20, says
    for name, about in registry.REGISTRY.items():
        assert about.citation and len(about.shape) == 3 and len(about.classes) >= 3, name
        assert all(file.check for file in about.cube) or name in ("pavia_centre", "houston2013"), name
        assert all(file.url.startswith("https://") for file in about.files if file.url), name
    assert registry.REGISTRY["pavia_university"].lr == 8e-4


def test_an_unchecked_file_has_an_identity_of_its_own(tmp_path):
    path = tmp_path / "data" / "Pavia.mat"
    def mark(value):
        scipy.io.savemat(path, {"pavia": np.full((3, 3, 3), value)})
        return registry.identity("pavia_centre")

    assert mark(1) != mark(2)


def test_pavia_from_a_file_of_the_real_form(pavia):
    scene = scenes.load_scene("pavia_university")
    assert scene.cube.shape == (610, 340, 103) and scene.train_fraction == 0.07
    split = make_split(scene, "disjoint", 0)
    assert len(split.train) == (pavia["train_map"] > 0).sum() and len(split.test) == (pavia["test_map"] > 0).sum()
    assert registry.identity("pavia_university") != "pavia_university"  # never mixed with the published file's runs
    run = make_run("pavia_university", "disjoint", "cnn2d")
    assert run.recipe.lr == 8e-4
    assert parameters(Task(run, scene, split).network(CNN2D)) == 426_159
    assert dict(make_run("pavia_university", "random", "svm").options)["gamma"] == 2.0


def unreachable(*_, **__):
    raise OSError("no network")


@pytest.mark.parametrize(
    "content, says",
    [
        (None, "checksum does not match"), (5000, "truncated"), ("gone", "not found and could not be downloaded .*; put it into"),
        ({"other": np.ones((610, 340, 103), np.uint8)}, "no usable array 'paviaU'"),
        ({"paviaU": np.ones((340, 610, 103), np.uint8)}, "has shape"),
    ],
    ids=["other", "cut", "gone", "key", "shape"],
)
def test_a_bad_file_is_one_line(tmp_path, pavia, monkeypatch, content, says):
    monkeypatch.setattr("pooch.retrieve", unreachable)
    path, side = (tmp_path / "data" / f"{registry.REGISTRY['pavia_university'].cube[0].name}{end}" for end in ("", ".sha256"))
    if isinstance(content, dict):
        scipy.io.savemat(path, content)
    elif content == 5000:
        path.write_bytes(path.read_bytes()[:content])
    side.write_text(fingerprint(path)) if content else side.unlink()
    if content == "gone":
        path.unlink()
    with pytest.raises(HsiError, match=says) as error:
        scenes.load_scene("pavia_university")
    assert "\n" not in str(error.value)


def test_a_wrong_download_is_refused_and_removed(tmp_path, monkeypatch):
    def fetch(url, known_hash, fname, path, progressbar):
        path.mkdir(parents=True, exist_ok=True)
        (path / fname).write_bytes(b"an error page")
        return str(path / fname)

    monkeypatch.setattr("pooch.retrieve", fetch)
    with pytest.raises(HsiError, match="checksum"):
        scenes.load_scene("salinas_a")
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_only_what_can_be_checked_is_downloaded(monkeypatch):
    with pytest.raises(HsiError, match="Pavia.mat not found and is not downloaded, for nobody told what"):
        scenes.load_scene("pavia_centre")
    monkeypatch.setenv("HSILIB_DATA", "/nowhere/at/all")
    with pytest.raises(HsiError, match="not a folder"):
        registry.identity("salinas_a")


@pytest.mark.data
@pytest.mark.parametrize("name, labelled", dict(salinas_a=5348, jasper_ridge=10000, samson=9025).items())
def test_real_scenes_load(real_data, name, labelled):
    scene = scenes.load_scene(name)
    assert (scene.labels > 0).sum() == labelled and len(np.unique(scene.labels[scene.labels > 0])) == len(scene.classes)


@pytest.mark.data
@pytest.mark.parametrize(
    "name, counts",
    [
        ("pavia_university_spectra", [971, 1329, 888, 927, 1091, 1181, 1299, 1083, 896]),
        ("ksc_spectra", [761, 243, 256, 252, 161, 229, 105, 431, 520, 404, 419, 503, 927]),
        ("botswana_spectra", [270, 101, 251, 215, 269, 269, 259, 203, 314, 248, 305, 181, 268, 95]),
    ],
)
def test_sets_of_spectra_have_the_published_counts_and_blocks(real_data, name, counts):
    scene = scenes.load_scene(name)
    assert np.bincount(scene.labels.ravel())[1:].tolist() == counts and scene.cube is None
    assert len(scene.spectra) == scene.there.sum() >= sum(counts) and not scene.labels[~scene.there].any()
    split = make_split(scene, "blocks", 0)
    assert len(set(split.train_y)) == len(set(split.test_y)) == len(counts)


@pytest.mark.data
def test_the_visible_channels_of_pavia_are_in_order_and_have_the_published_split(real_data):
    scene = scenes.load_scene("pavia_university_visible")
    assert scene.cube.shape == (610, 340, 9) and make_split(scene, "disjoint-labelled", 0).train.size == 2774
    whole = scenes.load_scene("pavia_university_spectra")
    full, channels = whole.spectra, scene.cube[whole.there]
    bands = []
    for channel in channels.T:
        clear = (channel > 0) & (channel < 255)  # not clipped
        bands.append(int(np.corrcoef(full[clear].T, channel[clear])[-1, :-1].argmax()) + 1)
    assert np.abs(np.array(bands) - sorted(registry.entry("pavia_university_visible").bands)).max() <= 1


def test_two_scenes_side_by_side_share_their_common_classes_and_no_window(monkeypatch):
    one, other = (scenes.Scene(n, n, np.full((h, 5, 2), h), np.arange(h * 5).reshape(h, 5) % 4, c) for n, h, c in (
        ("one", 4, ("a", "b", "c")), ("other", 6, ("c", "d", "a")),
    ))
    monkeypatch.setattr(scenes, "load_scene", {"one": one, "other": other}.get)
    file, words = registry.File("x", ""), dict(form="pair", of=("one", "other"))
    made = scenes._side_by_side("both", registry.Entry("t", (6, 30, 2), ("a", "c"), (file,), file, **words))
    assert (made.there[:4, :5]).all() and (made.there[:, 25:]).all() and made.there.sum() == 50 and made.second == 25
    assert made.labels[:4, :5].tolist() == np.array([0, 1, 0, 2])[one.labels].tolist()
    assert made.labels[:, 25:].tolist() == np.array([0, 2, 0, 1])[other.labels].tolist()
    assert (made.cube[:4, :5] == 4).all() and (made.cube[:, 25:] == 6).all() and not made.cube[~made.there].any()
    about = registry.REGISTRY["pavia_pair_visible"]
    assert about.shape[1] - sum(registry.REGISTRY[name].shape[1] for name in about.of) >= 19  # no window bridges that


@pytest.mark.data
def test_pavia_centre_lies_where_its_classes_explain_most_and_pairs_with_the_university(real_data):
    scene = scenes.load_scene("pavia_centre_visible")
    counts = np.bincount(scene.labels.ravel(), minlength=10)[1:]
    assert counts.tolist() == [65278, 6508, 2905, 2140, 6549, 7585, 7287, 3122, 2165]
    whole = label_map(registry.locate(registry.entry("pavia_centre").labels, "x"), "pavia_gt", (1096, 715))

    def explained(column):
        labels = whole[:, column : column + 492]
        values, labels = scene.cube[labels > 0], labels[labels > 0]
        within = sum(((values[labels == c] - values[labels == c].mean(0)) ** 2).sum() for c in range(1, 10))
        return 1 - within / ((values - values.mean(0)) ** 2).sum()

    assert max(range(219, 224), key=explained) == 223 and round(explained(223), 3) == 0.875
    colours = {name: scene.cube[scene.labels == i].mean(0) for i, name in enumerate(scene.classes, 1)}
    blue, green, red = colours["Tiles"]  # by colour: tiles are red, meadows green, shadows dark
    assert red > 1.5 * green and max(colours["Shadows"]) < 4 and colours["Meadows"].argmax() == 1
    both = scenes.load_scene("pavia_pair_visible")
    assert (both.labels > 0).sum() == 74471 and both.second == 360
    assert not near(both.there & (np.arange(852) < 360))[:, 360:].any()
    assert (both.cube[:610, :340] == scenes.load_scene("pavia_university_three").cube).all()
    assert [len(make_split(both, name, 0).train) for name in TRANSFER] == [1400, 1400]


@pytest.mark.data
def test_the_rebuilt_scene_is_the_crop_where_there_is_one(real_data):
    sound, hurt = (scenes.load_scene(f"indian_pines_{name}").cube for name in ("undamaged", "rebuilt"))
    crop = read_array(registry.locate(registry.entry("indian_pines_rebuilt").cube[1], "x"), "X")
    off = np.abs(hurt[30:115, 25:95] - crop)
    assert np.median(off) < 2 and (off > 200).mean() < 0.005 < 0.02 < (sound[30:115, 25:95] - crop > 700).mean()
    assert round(100 * (sound.astype(int) >> 8 == 13).mean(), 1) == 2.8
    assert not ((hurt.astype(int) >> 8 == 13) | (hurt.astype(int) & 255 == 13)).any()


INDIAN_PINES = {"disjoint": (5689, 4711), "disjoint-labelled": (5538, 4711), "disjoint-corrected": (5679, 4721)}
INDIAN_PINES |= {"random": (5637, 4612)} | {name: (count, 4711) for name, count in zip(FEW, (160, 376, 705, 1312, 2390))}


@pytest.mark.data
def test_published_counts(real_data):
    about = registry.REGISTRY["pavia_university"]
    maps = [label_map(registry.locate(f, "pavia"), f.key, (610, 340)) for f in (about.labels, about.train, about.test)]
    pavia = scenes.Scene("pavia", "pavia", None, maps[0], about.classes, maps[1], maps[2], 0.07)
    pines = scenes.load_scene("indian_pines_8bit")
    for scene, wanted in ((pines, INDIAN_PINES), (pavia, {"disjoint": (3921, 40002), "disjoint-labelled": (2774, 40002)})):
        for name, counts in wanted.items():
            split = make_split(scene, name, 0)
            assert (len(split.train), len(split.test)) == counts
    split = make_split(pines, "disjoint", 0)
    assert np.bincount(split.train_y).tolist() == [29, 762, 435, 146, 232, 394, 16, 235, 10, 470, 1424, 328, 132, 728, 291, 57]
    assert round(split.leakage * len(split.test)) == 4711 - 24 and (pines.labels > 0).sum() == 10249


def test_planning_looks_a_scenes_files_up_once_and_identities_never(monkeypatch, tmp_path):
    monkeypatch.setenv("HSILIB_DATA", str(tmp_path))
    folders, asked = registry.data_folders, []
    monkeypatch.setattr(registry, "data_folders", lambda: asked.append(1) or folders())
    runs = plan("pavia_university", ["random"], ["cnn2d", "scratch", "ca_mkd"], (0, 90), seeds=1)
    once = len(asked)
    more = plan("pavia_university", ["random"], ["cnn2d", "scratch", "ca_mkd"], (0, 90), seeds=9)
    assert len(asked) == 2 * once
    before = [run.id for run in runs + more]
    (tmp_path / "PaviaU.mat").write_bytes(b"another file")
    (tmp_path / "PaviaU.mat.sha256").write_text("1" * 64)
    assert [run.id for run in runs + more] == before and len(asked) == 2 * once
    assert plan("pavia_university", ["random"], ["cnn2d"], seeds=1)[0].id != before[0]  # a changed file is another run


def test_spectra_come_from_a_list_with_places_and_from_crops(tmp_path):
    places, spectra = [[0, 1], [2, 3], [4, 0]], np.arange(12, dtype="<f4").reshape(3, 4)
    (tmp_path / "s.bin").write_bytes(spectra.tobytes())
    (tmp_path / "m.json").write_text(json.dumps({"rows": [{"xy": xy} for xy in places]}))
    np.save(tmp_path / "crop.npy", np.full((2, 1, 4), 7))
    files = tuple(registry.File(name, "") for name in ("s.bin", "m.json", "crop.npy"))
    listing = registry.Entry("t", (5, 4, 4), ("a", "b", "c"), files, files[0], form="spectra", corners=((1, 2),))
    values, there = scenes.read(listing, [tmp_path / file.name for file in files])
    assert np.argwhere(there).tolist() == [[0, 1], [1, 2], [2, 2], [2, 3], [4, 0]]
    assert values[:, 0].tolist() == [0, 7, 7, 4, 8]


@pytest.fixture
def spectra():
    """A scene, and the set of spectra of its labelled pixels."""
    scene = tiny()
    there, words = scene.labels > 0, dict(classes=scene.classes, train_map=scene.train_map, of_spectra=True)
    return scene, scenes.Scene("tiny", "tiny", None, scene.labels, **words, spectra=scene.cube[there], there=there)


@pytest.mark.parametrize("kind", ["bands", "minmax"])
def test_a_set_of_spectra_gives_networks_of_spectra_what_the_scene_gives_on_the_same_pixels(spectra, kind):
    whole, listed = spectra
    split, there = make_split(whole, "disjoint", 0), listed.there.ravel()
    ours, theirs = (make_inputs(scene, split, kind, fit="train").pixels.numpy() for scene in (listed, whole))
    assert np.allclose(ours[there], theirs[there], atol=1e-5)
    values = make_inputs(listed, split, kind).pixels.numpy()
    assert np.allclose(values[there].mean(0), 0, atol=1e-5) if kind == "bands" else values.max() == 1
    assert not values[~there].any() and not ours[~there].any()


def test_only_the_pixels_at_hand_are_classified_and_there_are_no_windows(spectra):
    _, listed = spectra
    split, net = make_split(listed, "disjoint", 0), initialise(MLP(6, 3), 0)
    inputs = make_inputs(listed, split, "bands")
    scores = scene_scores(net, inputs)
    assert (scores.any(1) == listed.there.ravel()).all()
    assert np.allclose(scores[split.test], pixel_scores(net, inputs, torch.from_numpy(split.test)), atol=1e-6)
    with pytest.raises(HsiError, match="tiny is a set of spectra: it has no windows"):
        make_inputs(listed, split, "patches")


def test_the_pack_of_divisions_can_be_read_without_this_library(tmp_path):
    scene = scenes.load_scene("synthetic_fields_small")
    counts = write_pack(tmp_path / "splits.zip", [scene])
    first = (tmp_path / "splits.zip").read_bytes()
    write_pack(tmp_path / "splits.zip", [scene])
    assert (tmp_path / "splits.zip").read_bytes() == first
    with zipfile.ZipFile(tmp_path / "splits.zip") as pack:
        about = json.loads(pack.read("splits.json"))[scene.name]
        for name, said in about["splits"].items():
            split = make_split(scene, name, 0)
            train, test = (
                np.array(Image.open(io.BytesIO(pack.read(f"{scene.name}/{name}-{side}.png")))) for side in ("train", "test")
            )
            assert (np.flatnonzero(train) == split.train).all() and (train.flat[split.train] == split.train_y + 1).all()
            assert (np.flatnonzero(test) == split.test).all() and (test.flat[split.test] == split.test_y + 1).all()
            assert said["train"] == len(split.train) and said["leakage"] == round(split.leakage, 4)
            assert counts[counts["split"] == name]["train"].sum() == len(split.train)
        assert "xdrl1/SpatiallyDisjointHSI" in pack.read("README.txt").decode()


@pytest.mark.data
def test_the_pack_lists_the_errata_of_indian_pines(real_data):
    odd = errata(scenes.load_scene("indian_pines_8bit"))
    assert (odd["ground truth"] == "none").sum() == 151 and len(odd) == 161
    assert set(odd[odd["ground truth"] != "none"]["row"]) == {76, 77, 78}
