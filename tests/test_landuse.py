"""Images of land use: their networks, their reading, and the two systems built on the losses of the rest."""

import os
import zipfile

import numpy as np
import pytest
import torch
from hsibook import runner
from hsilib import HsiError, Store, add_images, add_scene, execute, make_run, split_of, task_of, trained
from hsilib.__main__ import main
from hsilib.data import imagesets as images
from hsilib.data import inputs, registry, scenes
from hsilib.data.own import images_named
from hsilib.methods.distill.distillation import recorded
from hsilib.methods.landuse.networks import VGG16, GGhostNet, MobileNetV2
from hsilib.study.sweep import costs_of
from PIL import Image

SMALL = "synthetic_landuse"

PARAMETERS = {  # methods F.1: for 1000, 30 and 4 classes
    "0.2": (1_825_440, 1_467_510, 1_457_916), "0.4": (2_884_456, 2_511_006, 2_500_996), "0.6": (4_029_776, 3_516_646, 3_502_892),
    "0.8": (5_248_328, 4_595_518, 4_578_020), "1.6": (7_109_660, 6_224_050, 6_200_312), "3.2": (10_511_000, 9_532_270, 9_506_036),
    "4.0": (15_726_268, 14_406_098, 14_370_712), "6.4": (17_993_748, 16_417_498, 16_375_248),
    "8.0": (24_586_928, 22_723_558, 22_673_612), "12": (30_627_208, 28_453_438, 28_395_172),
    "16": (32_381_704, 30_394_174, 30_340_900), "32": (62_815_448, 60_370_078, 60_304_532),
}  # fmt: skip


def built(network, classes, **config):
    with torch.device("meta"):  # shapes only: no memory, no time
        return sum(p.numel() for p in network(3, classes, **config).parameters())


@pytest.mark.parametrize("variant", PARAMETERS)
def test_parameters_of_gghostnet(variant):
    assert tuple(built(GGhostNet, k, variant=variant) for k in (1000, 30, 4)) == PARAMETERS[variant]


@pytest.mark.parametrize("classes", [1000, 30, 4])
def test_parameters_of_vgg16_and_mobilenetv2(classes):
    assert built(VGG16, classes, head="classic", batch_norm=False) == 14_714_688 + 119_545_856 + 4097 * classes
    assert built(VGG16, classes, head="pool", batch_norm=False) == 14_714_688 + 513 * classes
    assert built(MobileNetV2, classes) == 2_223_872 + 1281 * classes


@pytest.mark.parametrize("net", [VGG16(3, 5, width=0.125), VGG16(3, 5, width=0.02, head="classic"), MobileNetV2(3, 5, width=0.25),
                                 GGhostNet(3, 5, variant="0.2")])  # fmt: skip
@pytest.mark.parametrize("size", [32, 64])
def test_networks_take_images_of_any_usual_size(net, size):
    found = net.eval()(torch.zeros(2, 3, size, size))
    assert found.logits.shape == (2, 5) and torch.equal(net.head(found.taps["e"]), found.logits)


def test_positions_are_the_symmetries_of_the_square():
    pictures = inputs.Images(torch.randint(0, 255, (3, 3, 4, 4), dtype=torch.uint8))
    views = pictures.samples(torch.arange(24)).view(8, 3, 3, 4, 4)
    assert torch.equal(views[0], pictures.pixels.float() / 127.5 - 1)
    assert torch.equal(views[1], views[0].rot90(1, (2, 3))) and torch.equal(views[4], views[0].flip(3))
    assert len({views[t].numpy().tobytes() for t in range(8)}) == 8
    assert all(torch.equal(views[t].flatten().sort()[0], views[0].flatten().sort()[0]) for t in range(8))


def save(path, value=0, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (20, 16), value if mode == "L" else (value, 100, 200)).save(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two classes of four images in a folder around them, as archives come; own sets are noted under HSILIB_DATA."""
    monkeypatch.setenv("HSILIB_DATA", str(tmp_path))
    for number in range(4):
        save(tmp_path / "my set" / "farm" / f"{number}.png", number)
        save(tmp_path / "my set" / "port" / "JPEGImages" / f"{number}.png", 100 + number)  # deeper, as in RSOD
    return tmp_path / "my set"


def test_a_folder_and_its_zip_are_the_same_set(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as handle:
        for path in sorted(folder.rglob("*.png")):
            handle.write(path, f"root/{path.relative_to(folder)}")
    plain, packed = (scenes.load_scene(images_named(str(p))) for p in (folder, tmp_path / "packed.zip"))
    assert plain.name == "my_set" and plain.classes == packed.classes == ("farm", "port")
    assert plain.labels.ravel().tolist() == [1] * 4 + [2] * 4
    assert (plain.read(8) == packed.read(8)).all() and plain.read(8).shape == (8, 3, 8, 8)
    assert plain.read(8)[5].ravel().tolist() == [101] * 64 + [100] * 64 + [200] * 64


def test_an_own_set_has_an_identity_of_its_contents_and_a_later_change_is_refused(folder):
    name = images_named(str(folder))
    scene, before = scenes.load_scene(name), registry.identity(name)
    assert before != name
    save(folder / "farm" / "0.png", 77)
    with pytest.raises(HsiError, match="have changed since"):
        scene.read(9)
    assert registry.identity(images_named(str(folder))) != before


def test_a_chapter_takes_a_folder_from_where_you_are(folder, monkeypatch):
    given = {}

    def stop(notebook, path, asked, target, work):
        given.update(asked)
        raise HsiError("stop")

    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr(runner, "_execute", stop)
    with pytest.raises(HsiError, match="stop"):
        runner.run("landuse", {"images": "my set"})
    assert given["images"] == "my_set" in registry.image_names()
    with pytest.raises(HsiError, match="folder or .zip file that exists 'nowhere'"):
        runner.run("landuse", {"images": "nowhere"})


def test_larger_images_are_expected_to_take_longer():
    runs = [make_run(SMALL, "random", "mobilenet", options={"size": size}) for size in (64, 128)]
    small, large = costs_of(runs, Store().rows()).values()
    assert large == pytest.approx(4 * small)


def test_a_name_belongs_to_a_scene_or_to_a_set_not_to_both(folder, tmp_path):
    np.save(tmp_path / "cube.npy", np.random.rand(9, 9, 3))
    np.save(tmp_path / "labels.npy", np.ones((9, 9), np.uint8))
    pair = (tmp_path / "cube.npy", tmp_path / "labels.npy")
    add_scene("field", *pair)
    add_images("town", folder)
    for add, given, other in ((add_scene, pair, "town"), (add_images, [folder], "field")):
        for taken in ("rsscn7", other, "salinas_a"):
            with pytest.raises(HsiError, match="taken"):
                add(taken, *given)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0"  # which would be run


@pytest.mark.parametrize("how, says", [("grey", "is not RGB but L"), ("cut", "cannot be read"), (POSTSCRIPT, "cannot be read")])
def test_a_bad_image_is_named_and_refused_or_left_out(folder, how, says, capsys):
    bad = folder / "farm" / "1.png"
    save(bad, 3, "L") if how == "grey" else bad.write_bytes(bad.read_bytes()[:60] if how == "cut" else how)
    assert main(["scenes", "--add", "mine", str(folder)]) == 2
    error = capsys.readouterr().err
    assert "farm/1.png" in error and says in error and "mine" not in registry.names()
    assert main(["scenes", "--add", "mine", str(folder), "--skip"]) == 0
    assert "left out: farm/1.png" in capsys.readouterr().out
    assert len(scenes.load_scene("mine").labels) == 7


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes and links")
def test_links_that_loop_and_pipes_do_not_hang(folder):
    (folder / "farm" / "again").symlink_to(folder)
    assert len(images.listed(folder)[0]) == 8
    (folder / "farm" / "out.png").symlink_to(__file__)
    with pytest.raises(HsiError, match="farm/out.png: a link out of the set"):
        images_named(str(folder))
    (folder / "farm" / "out.png").unlink()
    os.mkfifo(folder / "farm" / "pipe.png")
    with pytest.raises(HsiError, match="farm/pipe.png: no file"):
        images_named(str(folder))


def test_what_is_no_set_of_images_is_one_line(tmp_path, folder):
    (tmp_path / "broken.zip").write_bytes(b"PK no")
    given = {"nowhere": "nowhere", "my set/farm": "one folder of images", "my set/port": "1 folders of images"}
    for path, says in (given | {"broken.zip": "broken.zip"}).items():
        with pytest.raises(HsiError, match=says):
            images_named(str(tmp_path / path))
    for name in ("0", "1", "2"):
        (folder / "farm" / f"{name}.png").unlink()
    with pytest.raises(HsiError, match="farm has 1 usable"):
        images_named(str(folder))


@pytest.mark.parametrize(
    "scene, split, method, size, says",
    [(SMALL, "random", "rf", {}, "hyperspectral scene"), ("synthetic_urban_small", "random", "mobilenet", {}, "set of images"),
     (SMALL, "disjoint", "mobilenet", {}, "random only"), (SMALL, "random", "mobilenet", {"size": 16}, "must be from 32 to")],
)  # fmt: skip
def test_what_images_and_networks_are_not_for_is_one_line(scene, split, method, size, says):
    with pytest.raises(HsiError, match=says):
        execute(make_run(scene, split, method, epochs=1, options=size), Store())


def test_every_position_has_its_own_answer_of_the_teacher():
    run = make_run(SMALL, "random", "mobilenet_kl", epochs=5, options={"size": 32, "width": 0.25})
    task = task_of(run)
    net, teacher = task.network(MobileNetV2, width=0.25), VGG16(3, 4, width=0.125).eval()
    data = task.data(net)
    assert len(data.y) == 8 * len(task.split.train)
    task.parent = lambda run: teacher
    (known,) = recorded(task, data, [run])
    some = torch.tensor([0, 47, 48, 200, 383])
    assert torch.allclose(known(some).logits, teacher(data.x(some)).logits, atol=1e-5)


def test_the_store_keeps_the_answer_for_every_image(tmp_path):
    options = {"size": 32, "width": 0.125}
    store, run = Store(tmp_path), make_run(SMALL, "random", "vgg16", epochs=40, batch=32, options=options)
    row, model = execute(run, store)
    answers = store.read_map(run.id).ravel() - 1
    scene, *_ = store.card(SMALL)
    split = split_of(scene, "random")
    assert np.isnan(split.leakage)  # images have no neighbours: the card knows it too
    with pytest.raises(HsiError, match="set of images"):
        split_of(scene, "blocks")
    assert 100 * (answers[split.test] == split.test_y).mean() == pytest.approx(row["oa"], abs=1e-3)
    assert row["oa"] > 60 and np.isnan(row["leakage"])  # four textures: chance is 25
    assert torch.equal(trained(run, store).head.weight, model.head.weight)
