"""What somebody else wrote, in a file or a name, runs nothing, loads nothing and opens no other file."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hsibook import apps, rendered, runner
from hsilib.__main__ import main
from hsilib.data import own, scenes
from hsilib.data.formats import open_image
from hsilib.errors import HsiError
from hsilib.methods.registry import METHODS, method, title
from hsilib.study.runs import make_run
from hsilib.study.store import Store
from hsilib.study.sweep import collect

from test_formats import CUBE, geotiff, polygons, written

EVIL = "http://evil.example"
TEXTS = [
    "a{{cycler.__init__.__globals__.os.popen('touch %s').read()}}",
    f"<img src={EVIL}/x onerror=alert(1)> ![p]({EVIL}/p) [l](javascript:alert(1)) `{{raw}} html`",
    f'=HYPERLINK("{EVIL}")\u202e\x1b[31m $\\frac{{1}}{{0}}$ \u2028' + "x" * 10_000,
]
ALWAYS = ("baselines",)  # the others with HSILIB_ODD=1: minutes
OTHERS = "scenes pruning quantization offline online self compact write-your-own".split()


@pytest.fixture
def hostile(tmp_path):
    """A scene whose every text is an attack, and the file that one of them would make."""
    pytest.importorskip("pyogrio")
    mark, size = tmp_path / "it-ran", 36
    texts = [TEXTS[0] % mark, *TEXTS[1:]]
    cube = np.random.default_rng(0).normal(size=(size, size, 12)) + np.arange(size)[:, None] * 3 // size
    shapes = polygons(tmp_path / "f.geojson", texts)
    image = geotiff(tmp_path / "c.tif", cube.astype(np.float32))
    own.add_scene("mine", image, shapes, title=" ".join(texts), say=lambda text: None)
    return mark


def harmless(text):
    """Whether a page, a notebook or a table has nothing that runs, loads or turns what is read."""
    tags = re.findall(r"<(?:img|a|script|iframe|link)\b[^>]*(?:evil|javascript:alert|onerror)", text)
    return not tags and "{{" not in text and not re.search("[\u202e\x1b\u2028]|\\](\\(|:)http://evil", text)


def test_a_scene_whose_every_text_is_an_attack_goes_through_harmlessly(hostile, tmp_path, capsys, monkeypatch):
    assert main(["scenes"]) == main(["scenes", "--show", "mine"]) == 0
    scene = scenes.load_scene("mine")
    assert all("cycler" in text or "alert" in text or "HYPERLINK" in text for text in scene.classes)  # readable
    assert all(len(text) <= 200 and harmless(text) for text in (scene.title, *scene.classes))
    store, run = Store(), make_run("mine", "random", "mlp", epochs=1)
    assert set(store.card("mine")[2]) == {name + mark for name in scene.classes for mark in ("", " sd")}
    row = collect([run], store, say=lambda text: None).iloc[0].to_dict()
    other = Store(tmp_path / "other")
    other.keep(row | {"run": "0" * 12, "method": TEXTS[1], "split": TEXTS[2][:60].split("\u2028")[0]}, "baselines")
    for part in ("map.png", "log.csv"):
        shutil.copy(store.folder / run.id / part, tmp_path / "other" / ("0" * 12) / part)
    assert main(["results", "--merge", str(tmp_path / "other")]) == main(["results"]) == 0
    assert main(["results", "--export", str(tmp_path / "all.csv")]) == 0
    assert not re.search(r'(^|,)"?[=+@]', (tmp_path / "all.csv").read_text(), re.M)
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda what: shown.append(what.data))
    apps.explorer(Store())
    assert harmless("".join(shown)) and "‹img" in "".join(shown)
    words = ["mlp", "--scene", "mine", "--split", "random", "--epochs", "1", "--output"]
    assert main(["map", *words, str(tmp_path / "map")]) == main(["export", *words, str(tmp_path / "m.onnx")]) == 0
    assert main(["predict", str(tmp_path / "m.onnx"), "mine", "--output", str(tmp_path / "p")]) == 0
    assert harmless(capsys.readouterr().out) and not hostile.exists()


@pytest.mark.nightly
@pytest.mark.parametrize("chapter", [*ALWAYS, *OTHERS])
def test_a_page_of_a_hostile_scene_runs_and_loads_nothing(hostile, chapter, monkeypatch):
    if chapter not in ALWAYS and not os.environ.get("HSILIB_ODD"):
        pytest.skip("set HSILIB_ODD=1")
    if chapter == "scenes":  # it shows the published ones too
        monkeypatch.delenv("HSILIB_PUBLISHED")
    words = dict(scene="mine", splits=["random"], ratios=[98], seeds=1, further_seeds=1, epochs=1)
    words["methods"] = ["mlp"] if chapter == "baselines" else []
    declared = runner.parameters_of(chapter)
    words = {name: value for name, value in words.items() if name in declared and value != []}
    done = runner.run(chapter, words, say=lambda text: None)
    shown = [out.get("data", {}) for cell in json.loads(done.read_text())["cells"] for out in cell.get("outputs", ())]
    assert all(harmless("".join(data.get(f"text/{kind}", ""))) for data in shown for kind in ("html", "markdown"))
    page = rendered.render(done).read_text()
    assert harmless(page) and not hostile.exists()


def test_a_template_in_a_page_is_text(tmp_path, monkeypatch):
    """Nothing of MyST hands what stands in a page to a template engine."""
    from test_cli import executed, styled

    body = "from IPython.display import Markdown\nMarkdown('It is {{ 6 * 7 }}.')"
    done = executed(tmp_path, monkeypatch, body, {"factor": 2})
    styled(tmp_path)
    page = rendered.render(done).read_text()
    assert "{{ 6 * 7 }}" in page and "It is 42" not in page


def test_names_of_methods_are_plain():
    with pytest.raises(HsiError, match="the name of a method is one of plain letters"):
        method("a{{b}}", "mine", "A")(lambda task: None)
    method("plain_name", "mine", "A{{b}} <i>")(lambda task: None)
    try:
        assert title("plain_name", options="x={{1}}") == "A((b)) ‹i›, x=((1))"
    finally:
        del METHODS["plain_name"]


class Asked(http.server.BaseHTTPRequestHandler):
    """A server that notes what it is asked for."""

    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_error(404)

    do_HEAD = do_GET
    log_message = lambda *words: None  # noqa: E731


@pytest.fixture
def network():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Asked) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def virtual(source):
    """A raster of GDAL that takes its values from elsewhere, as long as an ENVI image of 24 x 20 x 9 is."""
    bands = "".join(
        f'<VRTRasterBand dataType="Int16" band="{i + 1}"><SimpleSource><SourceFilename>{source}</SourceFilename>'
        "</SimpleSource></VRTRasterBand>" for i in range(9)
    )
    return f'<VRTDataset rasterXSize="20" rasterYSize="24">{bands}</VRTDataset>'.encode().ljust(CUBE.nbytes)


def test_a_file_that_is_another_thing_opens_no_other(tmp_path, network):
    """A VRT beside an ENVI header is read as the numbers that its header promises, and as nothing else."""
    written("ENVI", tmp_path / "a.img")
    other, address = tmp_path / "other.tif", f"/vsicurl/http://127.0.0.1:{network.server_port}/z.tif"
    geotiff(other, CUBE)
    for source in (other, address):
        (tmp_path / "a.img").write_bytes(virtual(source))
        image = open_image(tmp_path / "a.hdr")
        assert image.read(0, 24).tobytes() != CUBE.tobytes()
        (tmp_path / "a.img").write_bytes(virtual(source).rstrip())
        with pytest.raises(HsiError, match="its header asks for"):
            open_image(tmp_path / "a.img")
    assert not network.asked


def test_an_array_that_lies_in_another_file_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(CUBE.tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["cube"] = CUBE
    layout = h5py.VirtualLayout(CUBE.shape, CUBE.dtype)
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "cube", CUBE.shape)
    made = {
        "external": lambda f: f.create_dataset("cube", CUBE.shape, CUBE.dtype, external=[(tmp_path / "secret", 0, 8640)]),
        "virtual": lambda f: f.create_virtual_dataset("cube", layout),
        "link": lambda f: f.__setitem__("cube", h5py.ExternalLink("other.h5", "cube")),
        "soft": lambda f: (f.__setitem__("a", CUBE), f.__setitem__("cube", h5py.SoftLink("/a"))),
    }
    for name, make in made.items():
        with h5py.File(tmp_path / f"{name}.mat", "w") as file:
            make(file)
        with pytest.raises(HsiError, match="it holds links, or arrays that lie in other files"):
            open_image(tmp_path / f"{name}.mat", "cube")
        assert main(["scenes", "--check", str(tmp_path / f"{name}.mat"), "--cube-key", "cube"]) == 2


def test_geojson_asks_no_address_for_its_reference_system(tmp_path, network):
    pytest.importorskip("pyogrio")
    crs = {"type": "link", "properties": {"href": f"http://127.0.0.1:{network.server_port}/crs"}}
    (tmp_path / "f.geojson").write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": []}))
    with pytest.raises(HsiError, match="its reference system lies elsewhere"):
        own.add_scene("mine", geotiff(tmp_path / "c.tif", CUBE), tmp_path / "f.geojson", say=lambda text: None)
    assert not network.asked


HEAD = "---\njupytext:\n  text_representation: {extension: .md, format_name: myst}\n%s\n---\n\n# Mine\n\n"


@pytest.mark.parametrize(
    "head, cell", [("kernelspec: [", "1"), ("kernelspec: x", "1"), ("day: 2020-01-01", "1"), ("x: 1", ":tags: [[a\n1")]
)
def test_a_page_with_a_broken_head_is_one_line(tmp_path, capsys, head, cell):
    page = tmp_path / "91-mine.md"
    page.write_text(HEAD % head + "```{code-cell}\n" + cell + "\n```\n")
    assert main(["run", str(page)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "no notebook" in said


@pytest.mark.parametrize("value", ["a\nb", "a\u2028b", "a\x85b", "a" * 2000])
def test_a_text_option_that_no_row_can_hold_is_refused_before_training(value):
    with pytest.raises(HsiError, match="by must be a text of one line"):
        make_run("synthetic_urban_small", "random", "lens_5k_taught", options={"by": value})


@pytest.mark.parametrize("by, says", [("mlr", "names networks"), ("0*lens", "names teachers"), ("\u00b2*lens", "names teachers")])
def test_a_teacher_is_a_network(capsys, by, says):
    words = ["map", "lens_5k_taught", "--scene", "synthetic_urban_small", "--split", "random", "--epochs", "1"]
    assert main([*words, "-o", "by", by]) == 2
    said = capsys.readouterr().err.splitlines()
    assert says in said[-1]


def test_one_line_is_one_line_whatever_other_packages_warn_of(tmp_path):
    """A file of Python 2, of which numpy warns, a name with signs that a terminal obeys, and one that lacks signs."""
    with open(tmp_path / "c.npy", "wb") as file:
        np.save(file, CUBE)
    old = (tmp_path / "c.npy").read_bytes().replace(b"(24, 20, 9), }   ", b"(24L, 20L, 9L), }", 1)
    (tmp_path / "c.npy").write_bytes(old)
    words = ["scenes", "--add", "mine", "c.npy", "no\n\x1b[31m\u202elabels.npy"]
    poor = dict(env=os.environ | {"PYTHONIOENCODING": "ascii"}, cwd=tmp_path, capture_output=True, text=True)
    done = subprocess.run([sys.executable, "-m", "hsilib", *words], **poor)
    assert b"24L" in old and done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.strip().isprintable()


def test_predict_loads_no_torch_and_says_so_when_memory_is_short(tmp_path):
    pytest.importorskip("onnxruntime")
    model = Path(__file__).parents[1] / "book" / "models" / "indian_pines_8bit-lens_5k-int8.onnx"
    np.save(tmp_path / "cube.npy", np.random.default_rng(0).integers(0, 255, (20, 20, 200)).astype(np.uint8))
    code = "import sys; from hsilib.__main__ import main; {}rc = main(sys.argv[1:]); sys.exit(rc or 9 * ('torch' in sys.modules))"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (280 << 20, 280 << 20)); "
    words = ["predict", str(model), "cube.npy", "--output", "map"]
    for before, code_of_exit, says in (("", 0, ""), (limit, 2, "memory")):
        if before and sys.platform != "linux":
            continue
        command = [sys.executable, "-c", code.format(before), *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code_of_exit and says in done.stderr and "installed" not in done.stderr, done.stderr


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CSV = """<pre id=csv></pre><script>
URL.createObjectURL = (blob) => (blob.text().then((text) => (document.getElementById("csv").textContent = text)), "#");
addEventListener("load", () =>
  [...document.querySelectorAll("button")].find((one) => one.textContent.startsWith("Download")).click());
</script>"""


@pytest.mark.skipif(not BROWSER, reason="needs Chromium")
def test_the_explorer_takes_no_word_of_an_address_for_a_column(tmp_path, monkeypatch):
    rows = Store(Path(__file__).parents[1] / "book" / "results").rows().query("method == 'mlp'").head(8)
    rows = rows.assign(scene="=1+1")
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda what: shown.append(what.data))
    apps.explorer(SimpleNamespace(rows=lambda: rows))
    script = (Path(__file__).parents[1] / "book" / "_static" / "apps.js").read_text()
    (tmp_path / "page.html").write_text(f"<!doctype html>{shown[0]}{CSV}<script>{script}</script>")
    address = (tmp_path / "page.html").as_uri() + "?y=zzz&x=__proto__&sort=constructor&scene=nowhere&split=&down=7"
    quiet = "--headless --no-sandbox --disable-gpu --no-first-run --virtual-time-budget=4000".split()
    folder = f"--user-data-dir={tmp_path / 'browser'}"
    done = subprocess.run([BROWSER, *quiet, folder, "--dump-dom", address], capture_output=True, text=True, timeout=120)
    assert 'data-runs="8"' in done.stdout and "<svg" in done.stdout.partition("hsi-plot")[2]
    table = done.stdout.partition('<pre id="csv">')[2].partition("</pre>")[0].splitlines()
    assert len(table) == 9 and all(line.startswith("'=1+1,") for line in table[1:])


def test_options_of_a_contributed_row_are_options(tmp_path, capsys):
    row = collect([make_run("synthetic_urban_small", "random", "mlp", epochs=1)], say=lambda text: None).iloc[0]
    other = Store(tmp_path / "other")
    for number, options in enumerate(["=HYPERLINK(1)", "x=1"]):
        other.keep(row.to_dict() | {"run": f"{number:012}", "options": options}, "baselines")
    assert list(other.rows()["options"]) == ["x=1"] and "its options are none" in capsys.readouterr().err
