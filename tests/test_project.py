"""The promises of the project as a whole."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
ORDER = (
    "errors files machine synthetic images scenes splits inputs models train evaluate measure colours results registry prune "
    "quantize distill landuse torch_ao methods study stats report figures runner deploy bench __main__"
).split()


def test_imports_follow_the_arrow():
    position = {name: i for i, name in enumerate(ORDER)}
    for path in (ROOT / "hsilib").rglob("*.py"):
        own = path.relative_to(ROOT / "hsilib").with_suffix("").parts[0]  # a folder is one room
        if own == "__init__":
            continue
        assert own in position, f"{path.name}: give it a place in the order (book/design.md)"
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hsilib"):
                names = [node.module.split(".")[1]] if "." in node.module else [a.name for a in node.names]
                for name in names:
                    assert name == own or position[name] < position[own], f"{path.name} imports {name}, against the arrow"
    design = (ROOT / "book" / "design.md").read_text().replace("\n", " ")
    written = re.search(r"`(errors →[^`]*)`", design).group(1)
    places = [written.find(name) for name in ORDER[:-1]]
    assert -1 not in places and places == sorted(places), "book/design.md shows another order"


def test_one_training_loop():
    steps = [p.name for p in (ROOT / "hsilib").rglob("*.py") if "optimizer.step()" in p.read_text()]
    assert sorted(steps) == ["bench.py", "train.py"]  # the benchmark's plain loop is what the loop is compared with


def test_dependencies_agree():
    lock = dict(
        line.strip().split("==")
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    )
    lock = {name.lower().replace("_", "-"): version for name, version in lock.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    for text in wanted:
        need = Requirement(text)
        assert lock[need.name.lower()] in need.specifier, f"requirements.lock does not satisfy {text}"
    assert lock["torch"] == "2.13.0" and lock["jupyter-book"] == "1.0.4.post1"
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert sorted(packages) == sorted(".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "hsilib").rglob("__init__.py"))
    conda = (ROOT / "environment.yml").read_text()
    assert "-r requirements.lock" in conda
    assert re.search(r"python=(\S+)", conda).group(1) in ("3.11", "3.12", "3.13")
    assert project["requires-python"] == ">=3.11"
    assert f"version: {project['version']}" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.md")), ids=lambda p: p.stem)
def test_notebooks_are_sources_with_typed_commented_parameters(path):
    import jupytext

    notebook = jupytext.read(path)
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(cells) == 1
    for line in cells[0].source.splitlines():
        assert re.match(r"\w+: (str|int|float|bool|list) = .+  # .+", line), f"{path.name}: {line}"
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    typed = re.findall(r"\d+\.\d+ ?%", re.sub(r"`[^`]*`", "", prose))
    assert not typed, f"{path.name}: numbers typed by hand: {typed}"


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.md")), ids=lambda p: p.stem)
def test_notebook_code_has_no_undefined_names(path):
    import jupytext

    code = "\n".join(c.source for c in jupytext.read(path).cells if c.cell_type == "code")
    command = [sys.executable, "-m", "ruff", "check", "--select", "F", "--stdin-filename", f"{path.stem}.py", "-"]
    done = subprocess.run(command, input=code, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def test_git_holds_no_data_outputs_or_machine_paths():
    try:
        files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    assert not [f for f in files if re.search(r"\.(mat|tif|h5|pkl|pt|pth|ipynb)$", f)]
    for name in files:
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".yml", ".csv", ".json", ".cff") and path.is_file():
            hit = re.search(r"/(work|tmp|root|home)/\w", path.read_text())
            assert not hit or path.name == Path(__file__).name, f"{name}: machine path {hit.group(0)}"
