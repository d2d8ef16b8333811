"""The promises of the project as a whole."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import jupytext
import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
ORDER = "errors files source identity data models methods study deploy commands __main__ pages __init__".split()
METHODS = "registry task baselines prune quantize distill landuse compact __init__".split()  # a folder a chapter
CODE = [path for place in ("hsilib", "book/hsibook", "book/bench") for path in sorted((ROOT / place).rglob("*.py"))]


def imported(path):
    """All that a file imports, for hints too, as dotted names."""
    package = ".".join(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level < 2, f"{path}: an import from the folder above"
            yield from (f"{package if node.level else node.module}.{alias.name}" for alias in node.names)


def test_imports_follow_the_arrow():
    """A file imports from its own room and from those before it, and so do the rooms of methods among themselves.
    No file of the library imports the book."""
    for path in (path for path in CODE if path.is_relative_to(ROOT / "hsilib")):
        own = path.relative_to(ROOT / "hsilib").with_suffix("").parts
        for name in imported(path):
            root, *parts = name.split(".")
            assert root not in ("hsibook", "bench"), f"{path.relative_to(ROOT)} imports {name}, of the book"
            if root == "hsilib" and parts:
                against = f"{path.relative_to(ROOT)} imports {name}, against the arrow"
                assert ORDER.index(parts[0]) <= ORDER.index(own[0]), against
                if parts[0] == own[0] == "methods":
                    room = parts[1] if parts[1] in METHODS else "__init__"
                    assert METHODS.index(room) <= METHODS.index(own[1]), against
    design = (ROOT / "book" / "design.md").read_text().replace("\n", " ")
    for start, order in (("errors", [*ORDER[:-4], "command", "line"]), ("registry", METHODS[:-1])):
        written = re.search(rf"`({start} →[^`]*)`", design).group(1)
        assert re.findall(r"\w+", written) == order, "book/design.md shows another order"


def test_six_variables_of_the_environment_are_read_and_named_in_the_readme():
    read = {name for path in CODE for name in re.findall(r"HSILIB_[A-Z]+", path.read_text())}
    assert len(read) == 6 and all(f"`{name}`" in (ROOT / "README.md").read_text() for name in read), read


def test_the_folder_of_a_chapter_is_a_room():
    rooms = {path.parent.relative_to(ROOT / "hsilib") for path in (ROOT / "hsilib").rglob("*/__init__.py")}
    design = (ROOT / "book" / "design.md").read_text()
    assert {name for name in rooms if name.parts and f"`{name}/`" not in design} == set()
    assert {name.parts[0] for name in rooms if name.parts} == {"data", "models", "methods", "study", "deploy"}


def test_the_house_stays_small_and_plain():
    """No file above 350 lines, no line above 110 characters, no state that hides."""
    for path in CODE:
        text, name = path.read_text(), path.relative_to(ROOT)
        assert text.count("\n") <= 350, f"{name} has {text.count(chr(10))} lines"
        long = [i for i, line in enumerate(text.splitlines(), 1) if len(line) > 110]
        assert not long, f"{name}, line {long[0]}: longer than 110 characters"
        assert not re.search(r"noqa: .*(E402|I001)", text), f"{name}: imports out of order"
        tree = ast.parse(text)
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
                target = node.targets[0].value
                hung = isinstance(target, ast.Name) and target.id in functions
                assert not hung, f"{name}, line {node.lineno}: an attribute hung on a function"
            assert not isinstance(node, ast.Global), f"{name}, line {node.lineno}: state of the module that changes"


def test_the_api_page_lists_every_public_name_and_all_are_documented():
    import hsilib

    page = (ROOT / "book" / "api.md").read_text()
    assert not {path.stem for path in (ROOT / "hsilib").iterdir()} & set(hsilib.__all__), "a name is a folder too"
    assert sorted(re.findall(r"(?m)^\.\. (?:auto\w+|py:data):: (\w+)", page)) == sorted(hsilib.__all__)
    for name in hsilib.__all__:
        thing = getattr(hsilib, name)
        if callable(thing):
            text = (thing.__doc__ or "").strip()
            assert text and not text.startswith(f"{name}("), f"{name} has no docstring"  # nor the one a dataclass makes up


def test_numpy_only_parts_load_no_torch():
    code = "import sys, hsilib; hsilib.load_scene, hsilib.split_of, hsilib.Store; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_dependencies_agree():
    lock = locked()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    apart = "lab", "release"  # which each has an environment of its own
    extras = {name: needs for name, needs in project["optional-dependencies"].items() if name not in apart}
    wanted = project["dependencies"] + sum(extras.values(), [])
    for text in wanted:
        need = Requirement(text)
        assert lock[need.name.lower()] in need.specifier, f"requirements.lock does not satisfy {text}"
    assert lock["jupyter-book"] == Version("1.0.4.post1")
    assert "pip install -q --no-compile --disable-pip-version-check torch==2.13.0" in (ROOT / "Makefile").read_text()
    conda = (ROOT / "environment.yml").read_text()
    pins = re.findall(r'^      - "?(\S+)==([^\s"]+)', conda, re.M)
    assert {name: Version(version) for name, version in pins} == lock, "run .ci/lock"
    assert re.search(r"python=(\S+)", conda).group(1) in ("3.11", "3.12", "3.13")
    assert project["requires-python"] == ">=3.11"


def locked():
    """{name: version} of requirements.lock, where each has hashes, and of torch, which is pinned by hand: see .ci/lock."""
    text, found = (ROOT / "requirements.lock").read_text(), {"torch": Version("2.13.0")}
    for block in re.split(r"^(?=[a-z0-9])", text, flags=re.M)[1:]:
        name, version = re.match(r"([a-z0-9-]+)==(\S+)", block).groups()
        assert name not in found and re.search(r"--hash=sha256:[0-9a-f]{64}", block), name
        found[name] = Version(version)
    return found


def test_the_licence_of_each_package_is_listed():
    listed = dict(re.findall(r"^\| ([a-z0-9-]+) \| (\S.*) \|$", (ROOT / "THIRD-PARTY.md").read_text(), re.M))
    assert set(listed) - {"package"} == set(locked())


SYSTEMS = [("linux", "Linux", "posix"), ("darwin", "Darwin", "posix"), ("win32", "Windows", "nt")]


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system[0])
def test_the_lock_alone_is_enough(system):
    """All that an installed package needs on a system is in the lock, in a version that will do."""
    lock, lacking = locked(), []
    about = default_environment() | dict(zip(("sys_platform", "platform_system", "os_name"), system))
    for dist in distributions():
        if canonicalize_name(dist.name) not in lock:
            continue
        for need in map(Requirement, dist.requires or []):
            name = canonicalize_name(need.name)
            there = (need.marker is None or need.marker.evaluate(about | {"extra": ""})) and name != "hsilib"
            if there and name not in lock and not name.startswith(("nvidia-", "cuda-", "triton")):
                lacking.append(f"{dist.name} needs {need}")
            elif there and name in lock and lock[name] not in need.specifier:
                lacking.append(f"{dist.name} needs {need}, the lock has {lock[name]}")
    assert not lacking


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.md")), ids=lambda p: p.stem)
def test_notebooks_are_sources_that_read_well_without_the_book(path):
    """Parameters have types and comments, names are defined, lines fit a screen (but for rows of a table), and numbers
    are shown by cells: not typed, and not by roles that plain Jupyter shows raw."""
    notebook, text = jupytext.read(path), path.read_text()
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    for line in cell.source.splitlines():
        assert re.match(r"\w+: (str|int|float|bool|list) = .+  # .+", line), line
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    assert not re.findall(r"\d+\.\d+ ?%", re.sub(r"`[^`]*`", "", prose))
    assert "glue" not in text and "myst_nb" not in text
    assert not [line for line in text.splitlines() if len(line) > 110 and not line.startswith("|")]
    code = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
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


def test_one_training_loop():
    steps = [path.name for path in CODE if "optimizer.step()" in path.read_text()]
    assert sorted(steps) == ["bench.py", "train.py"]  # the benchmark's plain loop is what the loop is compared with
