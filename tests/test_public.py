"""What a newcomer reads first does what it says: README, CONTRIBUTING, the page of deep changes, the workflows."""

import os
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from hsilib.__main__ import parser
from hsilib.data import synthetic
from hsilib.files import fingerprint

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "book/extend.md"]
TRAVELS = re.search(r'TRAVELS = """(.*?)"""', (ROOT / "book" / "setup.py").read_text(), re.S).group(1).split()


def blocks(page, language=""):
    """The blocks of code of a page, in a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)
    return [text for said, text in found if said == language]


def commands(page):
    """Every line of a block of commands, without its comment."""
    lines = "".join(blocks(page)).splitlines()
    return [line.partition("  #")[0].strip() for line in lines if line.strip()]


def test_the_readme_is_one_screen():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 45 and len(blocks("README.md")) == 1 and len(commands("README.md")) == 3
    assert text.index("```python") < text.index("```\n")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one(page):
    """Make knows its target, a script is there and can be run, and the words of hsilib are understood."""
    targets = re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text())
    for part in (part.strip() for line in commands(page) for part in line.split("&&")):
        word, *rest = [word for word in part.split() if not re.match(r"[A-Z_]+=", word)]
        if word == "make":
            assert rest[0] in targets, part
        elif word == "hsilib":
            parser().parse_args([word.strip("'") for word in rest])
        elif word.startswith(".ci/"):
            assert os.access(ROOT / word, os.X_OK), part
        else:
            assert word in (".", "python", "ruff"), part


def clone(folder):
    """A copy of what git would hold of this tree, and how commands run in it, as in its activated environment."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith("book/results/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return dict(os.environ, PYTHONPATH=f"{folder}{os.pathsep}{folder / 'book'}", PATH=path, HSILIB_PUBLISHED="")


def run(command, folder, env):
    command = command.removeprefix("make env && . .venv/bin/activate && ")
    command = re.sub(r"(^|&& )hsilib ", rf"\1{sys.executable} -m hsilib ", command)
    command = re.sub(r"^make ", f"make -o .venv/.ready PY={sys.executable} ", command)  # or it makes an environment
    return told(["bash", "-c", command], folder, env)


def told(words, folder, env):
    """What a command prints that succeeds."""
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.nightly
def test_the_first_lines_of_the_readme_run_as_printed(tmp_path):
    pytest.importorskip("onnx")
    (code,) = blocks("README.md", "python")
    said = told([sys.executable, "-c", code], tmp_path, os.environ)
    assert float(re.search(r"overall accuracy: ([\d.]+) %", said).group(1)) > 50
    assert {"my-map.png", "my-map.npy", "my-lens.onnx"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.nightly
def test_what_travels_in_the_wheel_makes_a_page(tmp_path):
    for file in (file.relative_to(ROOT) for pattern in TRAVELS for file in ROOT.glob(pattern) if file.is_file()):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    run("hsilib run quickstart -p epochs 1", tmp_path, dict(os.environ, HSILIB_PROJECT=str(tmp_path)))
    assert list((tmp_path / "_build" / "pages").rglob("01-quickstart.html"))


def test_each_wheel_stays_below_300_kB():
    """As zip packs it: what compresses, the heads of each file, and its line in the list of files."""
    library = ["hsilib/**/*.py", "hsilib/**/*.pyi", "hsilib/data/*.toml", "hsilib/deploy/c/*"]
    for patterns in (library, ["book/hsibook/*.py", *TRAVELS]):
        files = [file for pattern in patterns for file in ROOT.glob(pattern) if file.is_file()]
        size = sum(len(zlib.compress(file.read_bytes())) + 200 + 2 * len(str(file.relative_to(ROOT))) for file in files)
        assert len(files) > 50 and 100_000 < size < 300_000


def keep(folder):
    """Do by hand what CONTRIBUTING asks of a method that stands: the cell becomes a file; the study is written."""
    (page,) = (folder / "notebooks").glob("*-my-loss.md")
    (code,) = re.findall(r"## The method\n\n```.*?\n(.*?)^```", page.read_text(), re.M | re.S)
    code = code.replace('"mine"', '"offline"').replace("F.cross_entropy(", "on_labels(")
    code = f"from hsilib.models.train import on_labels\n{code}".replace("import torch.nn.functional as F\n", "")
    (folder / "hsilib" / "methods" / "distill" / "my_loss.py").write_text(code)
    with open(folder / "hsilib" / "methods" / "distill" / "__init__.py", "a") as imports:
        imports.write("from . import my_loss\n")
    (study,) = blocks("CONTRIBUTING.md", "toml")
    (folder / "my_study.toml").write_text(study)


ELSEWHERE = ("make env", ". .venv", "make book", ".ci/release")  # of the environment and the whole book: .ci/run


@pytest.mark.nightly
@pytest.mark.parametrize("page", PAGES[:2])
def test_every_command_runs_as_printed(page, tmp_path):
    env = clone(tmp_path)
    env.pop("HSILIB_RESULTS")
    for command in commands(page):
        if command == "hsilib new my_loss --remove":
            keep(tmp_path)
        if not command.startswith(ELSEWHERE) or "hsilib run" in command:
            run(command, tmp_path, env)
    if page == "CONTRIBUTING.md":
        assert "my_loss" in "".join(path.read_text() for path in (tmp_path / "rows").rglob("run.json"))


@pytest.mark.nightly
def test_a_published_scene_is_added_as_the_page_says(tmp_path):
    env = clone(tmp_path)
    made = synthetic.make("synthetic_urban_small")
    (entry,) = blocks("book/extend.md", "toml")
    for name, array, mark in (("my_valley", made["cube"], "CUBE"), ("my_valley_gt", made["labels"], "LABELS")):
        np.save(tmp_path / "data" / f"{name}.npy", array)
        entry = entry.replace(f"sha256:{mark}", f"sha256:{fingerprint(tmp_path / 'data' / f'{name}.npy')}")
    scenes = tmp_path / "hsilib" / "data" / "scenes.toml"
    scenes.write_text(f"{scenes.read_text()}\n{entry}")
    env["HSILIB_DATA"] = str(tmp_path / "data")
    assert "My valley" in run("hsilib scenes --show my_valley", tmp_path, env)
    assert "mlp · my_valley" in run("hsilib map mlp --scene my_valley --split random --epochs 2", tmp_path, env)


@pytest.mark.nightly
def test_another_measurement_is_noted_as_the_page_says(tmp_path):
    env = clone(tmp_path)
    path = tmp_path / "hsilib" / "study" / "execute.py"
    code = next(code for code in blocks("book/extend.md", "python") if "joules" in code)
    text = path.read_text()
    started, trained = "    start = time.perf_counter()\n", '        gpu = task.device.type == "cuda"\n'
    assert text.count(started) == 1 and text.count(trained) == 1
    text = text.replace(started, f"{started}    before = joules()\n")
    text = text.replace(trained, f'        beside["joules"] = joules() - before\n{trained}')
    path.write_text(text.replace("@contextmanager\ndef one_thread", f"{code}\n\n@contextmanager\ndef one_thread"))
    lines = "from hsilib import collect, plan\n"
    lines += "print('joules', collect(plan('synthetic_urban_small', 'random', 'mlp', seeds=1, epochs=1))['joules'][0])"
    assert re.search(r"joules \d", told([sys.executable, "-c", lines], tmp_path, env))


@pytest.mark.nightly
def test_another_loss_for_all_methods_is_one_function(tmp_path):
    env = clone(tmp_path)
    path = tmp_path / "hsilib" / "models" / "train.py"
    code = next(code for code in blocks("book/extend.md", "python") if "def on_labels" in code)
    text = path.read_text()
    before = re.search(r"def on_labels.*?\n\n\n", text, re.S).group(0)
    path.write_text(text.replace(before, f"{code}\n\n"))
    lines = """import torch, hsilib
from hsilib.models.train import on_labels
scene = hsilib.load_scene("synthetic_urban_small")
split = hsilib.split_of(scene, "random")
inputs = hsilib.make_inputs(scene, split, "bands")
net = hsilib.initialise(hsilib.MLP(scene.bands, 9), seed=0)
print(hsilib.fit(net, hsilib.training_set(inputs, split), hsilib.Recipe(epochs=1), seed=0)[0]["ce"])"""
    aside = tmp_path / "data"  # python -c looks where it stands first
    here = dict(env, PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'book'}")
    losses = {float(told([sys.executable, "-c", lines], aside, where)) for where in (env, here)}
    assert len(losses) == 2
    plain = {"ca_mkd.py": 1}  # it weighs teachers by what each of them loses
    for path in (ROOT / "hsilib" / "methods").rglob("*.py"):
        assert path.read_text().count("F.cross_entropy(") == plain.get(path.name, 0), f"{path}: not through on_labels"


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem)
def test_workflows_call_the_projects_own_scripts(path):
    for job in yaml.safe_load(path.read_text())["jobs"].values():
        for step in job["steps"]:
            words = step.get("run", "").split()
            if words and words[0] not in ("make", "gh", "git"):
                assert os.access(ROOT / words[0], os.X_OK), f"{words[0]} is no script of the project"


def test_links_to_binder_colab_and_a_repository_lead_to_what_is_there():
    sys.path.insert(0, str(ROOT / "book" / "_ext"))
    import hsi_pages

    def url(site, name):
        return f"{site}/github/o/r/blob/main/book/chapters/{name}.ipynb"

    binder, colab = hsi_pages.SITES["binderhub_url"], hsi_pages.SITES["colab_url"]
    here, launched = "https://x.org/blob/main/book/{}?plain=1", f"{binder}/v2/gh/o/r/main?urlpath=lab/tree/"
    buttons = [{"url": url(colab, "03-baselines")}, {"url": url(colab, "01-quickstart")}]
    buttons += [{"url": f"{launched}book/chapters/03-baselines.ipynb"}, {"url": here.format("design.md")}, {"text": "x"}]
    buttons.append({"buttons": [{"url": here.format("chapters/06-offline.ipynb")}]})
    hsi_pages.to_sources(buttons)
    assert buttons == [
        {"url": f"{colab}/github/o/r/blob/notebooks/01-quickstart.ipynb"},
        {"url": f"{launched}my-notebooks/03-baselines.ipynb"}, {"url": here.format("design.md")}, {"text": "x"},
        {"buttons": [{"url": "https://x.org/blob/main/notebooks/06-offline.md?plain=1"}]},
    ]


def test_the_typed_face():
    api = pytest.importorskip("mypy.api", reason="pip install '.[release]'")
    said, errors, code = api.run(["--config-file", str(ROOT / "pyproject.toml"), str(ROOT / "tests" / "typed_user.py")])
    assert code == 0, said + errors
