"""Chapters: md:myst notebook -> papermill -> executed notebook.

Unlike bare papermill: an unknown or wrongly typed parameter is an error, the injected cell is hidden, and
the executed notebook records where it came from.
"""

import hashlib
import json
import os
import re
import sys
import time
import warnings
from ast import literal_eval
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hsibook import kernel
from hsibook.claim import claims_of
from hsilib.data import own, registry
from hsilib.data.splits import SPLITS
from hsilib.errors import HsiError, known
from hsilib.files import built, clear, project, readable
from hsilib.study import machine
from hsilib.study.store import Store

LEAST = {"seeds": 1, "further_seeds": 1, "epochs": 1, "batch": 2, "seed": 0}
SIZES = 90, 95, 98


def needs() -> None:
    """Say in one line when what executes chapters is not installed, or the chapters are not there."""
    missing = [name for name in ("seaborn", "jupytext", "papermill", "ipykernel") if find_spec(name) is None]
    if missing:
        says = "chapters need more packages: pip install hsibook (in a clone: ./book)"
        raise HsiError(f"{', '.join(missing)} not installed; {says}")
    if not (project() / "_config.yml").is_file():
        raise HsiError(f"{project()}: no book with its chapters; HSILIB_PROJECT names one")


def chapters() -> dict[str, Path]:
    """{short name: source}: ``baselines`` is ``notebooks/03-baselines.md``; a path works too."""
    return {path.stem.split("-", 1)[-1]: path for path in sorted((project() / "notebooks").glob("[0-9]*.md"))}


def source_of(page: str) -> Path | None:
    """The source of a page of the book: a chapter with a parameter ``family`` is a page for each of these,
    and ``23-every-run-online`` is made from ``23-every-run.md``."""
    files = (project() / "notebooks" / f"{name}.md" for name in (page, page.rpartition("-")[0]))
    return next(filter(Path.is_file, files), None)


def check_contents() -> None:
    """Refuse a ``_toc.yml`` that lists a page which is not there: the book would fail when all has run."""
    contents = project() / "_toc.yml"
    for file in re.findall(r"file: (\S+)", contents.read_text("utf-8") if contents.is_file() else ""):
        name, chapter = file.rpartition("/")[2], file.startswith("book/chapters/")
        there = f"notebooks/{name}.md" if chapter else f"{file}.md"
        if not (source_of(name) if chapter else (project() / there).is_file()):
            says = f"hsilib new {name.split('-', 1)[-1]} --remove strikes it"
            raise HsiError(f"_toc.yml lists {file}, but {there} is not there; {says}")


def _of_family(page, given):
    """A chapter and what it is given: the page ``every-run-online`` is ``every-run`` of one family."""
    name, _, family = page.rpartition("-")
    if page in chapters() or name not in chapters() or "family" not in parameters_of(name):
        return page, given
    return name, {"family": family} | given


def title_of(path: Path) -> str:
    """The title of a chapter."""
    lines = path.read_text(errors="replace").splitlines()
    return next((line[2:] for line in lines if line.startswith("# ")), path.stem)


def notebooks(folder: Path | str) -> list[Path]:
    """Write every chapter as an ordinary notebook into a folder, where papermill and Jupyter run it."""
    import jupytext

    written = {Path(folder) / f"{path.stem}.ipynb": jupytext.read(path) for path in chapters().values()}
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path, notebook in written.items():
        notebook.metadata.pop("jupytext", None)  # it stands for itself
        jupytext.write(notebook, path)
    return list(written)


def source(chapter: str) -> Path:
    """The source of a chapter by its name, or by that of its page for a family, or at a path."""
    import jupytext

    own = f"{chapter.removesuffix('.md')}.md"  # in the current folder, or at a path
    if chapter.endswith(".md") or chapter not in chapters() and Path(own).is_file():
        path = Path(own)
    else:
        path = chapters()[known("chapter", chapter, chapters())]
    with readable(f"{path}: no notebook"):
        head = path.read_text("utf-8")[:500]
        json.dumps(jupytext.read(path))
    if "jupytext:" not in head:
        raise HsiError(f"{path}: no notebook, for it does not begin with the lines of jupytext")
    return path


def parameters(notebook: Any) -> dict:
    """{name: (default, comment)} of the cell tagged ``parameters``."""
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    declared = {}
    for line in (cells[0].source if cells else "").splitlines():
        head, _, comment = line.partition("#")
        name, _, value = head.partition("=")
        if value:
            try:
                declared[name.partition(":")[0].strip()] = (literal_eval(value.strip()), comment.strip())
            except (ValueError, SyntaxError):
                raise HsiError(f"parameters cell: {line.strip()!r} must give a plain value") from None
    return declared


def parameters_of(chapter: str) -> dict:
    """The parameters of a chapter."""
    import jupytext

    return parameters(jupytext.read(source(chapter)))


def check(chapter: str, declared: dict, given: dict) -> None:
    """Refuse what papermill would let through; scene, split and method names included."""
    for name, value in given.items():
        default = declared[known(f"parameter of chapter {chapter}", name, declared)][0]
        if isinstance(default, str) and type(value) is int:  # a folder may be called 2750
            given[name] = value = str(value)
        if type(value) not in ((float, int) if type(default) is float else (type(default),)):
            raise HsiError(f"parameter {name} must be like {default!r}, not {value!r}")
        like = (default or ["a", "b"]) if isinstance(default, list) else []
        if like and any(type(part) is not type(like[0]) for part in value):
            raise HsiError(f"parameter {name} must be a list like {like!r}, not {value!r}")
        if name in LEAST and value < LEAST[name]:
            raise HsiError(f"parameter {name} must be at least {LEAST[name]}, not {value}")
        for part in value if name in ("ratios", "sizes") else [value] if name == "ratio" else ():
            if part not in SIZES:
                raise HsiError(f"parameter {name}: sizes are {', '.join(map(str, SIZES))}, not {part}")
    for value in given.get("splits", []):
        known("split", value, SPLITS)
    if given.get("methods"):
        from hsilib.methods import METHODS  # loads torch: seconds, spent only when there are names to check

        for value in given["methods"]:
            known("method", value, METHODS)
    if "scene" in given:
        known("scene", given["scene"], registry.names())


def run(chapter: str, given: dict, say: Callable = print) -> Path:
    """Execute a chapter; return the executed notebook's path.

    A page of the book that is given no parameters goes to ``book/chapters``, any other to ``_build/runs``.
    """
    import jupytext

    chapter, given = _of_family(chapter, given)
    path = source(chapter)
    notebook = jupytext.read(path)
    declared = parameters(notebook)
    check(chapter, declared, given)
    if "images" in given:  # a folder is added under its name: the kernel works elsewhere
        given = given | {"images": own.images_named(given["images"])}
    name, told = path.stem, given
    if "family" in declared:
        given = {"family": declared["family"][0]} | given
        if set(given) == {"family"}:  # a page of the book for each
            name, told = f"{name}-{given['family']}", {}
    target, place = project() / "book" / "chapters" / f"{name}.ipynb", path.resolve().parent
    place = "" if place == (project() / "notebooks").resolve() else str(place)
    if told or place or built() != project():
        tag = re.sub(r"[^\w.=-]", "_", "".join(f"-{k}={v}" for k, v in told.items()))
        if len(tag) > 100 or place:  # what is cut off, or is called as a page in another folder
            tag = f"{tag[:90]}-{hashlib.sha256(f'{tag}{place}'.encode()).hexdigest()[:8]}"
        target = built() / "_build" / "runs" / f"{path.stem}{tag}" / f"{path.stem}.ipynb"
    clear(target.parent)
    start = time.perf_counter()
    work = target.with_name(f".{target.stem}.{os.getpid()}.part.ipynb")
    try:
        _execute(notebook, path, given, target, work)
        _stamp(work, path, given, told, time.perf_counter() - start)
        if target.parent == project() / "book" / "chapters":
            _refuse(work, path)
        os.replace(work, target)  # a page that is there is whole
    finally:
        work.unlink(missing_ok=True)
    say(f"{name}: {time.perf_counter() - start:.0f} s, {os.path.relpath(target)}")
    return target


def run_all(chapters: Sequence[str], given: dict) -> list[Path]:
    """Execute chapters, one on each core; none is begun any more once one has failed."""
    if len(chapters) == 1:
        return [run(chapters[0], dict(given))]
    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, len(chapters)))
    made = [pool.submit(run, chapter, dict(given)) for chapter in chapters]
    try:
        wait(made, return_when=FIRST_EXCEPTION)
    finally:
        pool.shutdown(cancel_futures=True)
    return [one.result() for one in made if not one.cancelled()]  # the one that failed raises here


def _execute(notebook, path, given, target, work):
    import jupytext
    import papermill

    from hsibook.forked import Forked

    target.parent.mkdir(parents=True, exist_ok=True)
    os.environ["HSILIB_RESULTS"] = str(Store().folder)
    folders = (f"HSILIB_{name}" for name in ("DATA", "CACHE", "RESULTS", "OWN", "PROJECT", "PUBLISHED"))
    for name in filter(os.environ.get, folders):  # the kernel works in another folder
        os.environ[name] = os.path.abspath(os.environ[name])
    try:
        jupytext.write(notebook, work)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # papermill and nbformat announce their own deprecations
            where = dict(cwd=str(built()), kernel_name="python3", kernel_manager_class=Forked)
            where |= dict(extra_arguments=kernel.words(target.with_suffix("")), stdout_file=sys.stdout)
            quiet = dict(progress_bar=False, request_save_on_cell_execute=False, autosave_cell_every=0)
            papermill.execute_notebook(str(work), str(work), given, **where, **quiet)
    except papermill.PapermillExecutionError as error:
        if error.ename == "HsiError":
            raise HsiError(error.evalue) from None
        if error.ename == "KeyboardInterrupt":
            raise KeyboardInterrupt from None
        lines = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
        print(lines, file=sys.stderr)
        # of a function sent to a worker
        place = re.findall(r'ipykernel_\d+/\d+\.py", line (\d+), in (\w+)', lines)
        place = f"line {place[-1][0]} of the cell of {place[-1][1]}" if place else f"cell {error.cell_index}"
        raise HsiError(f"{path.name}, {place}: {error.ename}: {error.evalue}") from None


def _refuse(page, path):
    """The book claims nothing that the published runs contradict; what others claim may fail."""
    for one in claims_of(page):
        if one["state"] == "fails" and not one.get("by"):
            said = f"{one['claim']} ({one['evidence']})"
            raise HsiError(f"{path.name}: a claim fails on the published runs: {said}")


def _told(given):
    """What a page must say when it is not the book's."""
    how = "with"
    if given.get("budget") == "smoke":
        how = "on the smoke budget, a small synthetic scene, two seeds and two epochs: it shows that the "
        how += "page works and nothing else. Asked for:"
    others = ", ".join(f"`{name} = {repr(value).replace('`', ' ')}`" for name, value in given.items())
    return ["```{important}", f"Made {how} {others}.", "```", ""]


def _stamp(path, source_path, given, told, seconds):
    """Provenance into the notebook's metadata; machine paths and timings of single cells out of it."""
    notebook = json.loads(path.read_text("utf-8"))
    title, *rest = "".join(notebook["cells"][0]["source"]).split("\n")
    title += f": {given['family']}" if "family" in given else ""
    notebook["cells"][0]["source"] = "\n".join([title, *(["", *_told(told)] if told else []), *rest])
    for cell in notebook["cells"]:
        cell["metadata"].pop("papermill", None)
        cell["metadata"].pop("execution", None)
        if "injected-parameters" in cell["metadata"].get("tags", []):
            cell["metadata"]["tags"].append("remove-cell")
    notebook["metadata"].pop("papermill", None)
    notebook["metadata"]["hsilib"] = {
        "source": source_path.name, "source_sha256": hashlib.sha256(source_path.read_bytes()).hexdigest(),
        "parameters": given, "commit": machine.commit(), "versions": machine.versions(),
        "device": machine.cpu_name(), "threads": os.cpu_count(), "seconds": round(seconds, 1)
    }
    path.write_text(json.dumps(notebook, indent=1) + "\n", "utf-8")
