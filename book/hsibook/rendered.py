"""One executed notebook as a page of its own."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from hsilib.errors import HsiError
from hsilib.files import built, clear, project, temporary

OTHER = re.compile(r"\[([^]\[]+)\]\((?:\d\d-[\w-]+|\.\./[\w.-]+)\)")  # a link to another page of the book
REFERENCES = "## References\n\n```{bibliography}\n:filter: docname in docnames\n```"


def render(path: Path) -> Path:
    """One executed notebook as a page of its own, with the book's settings; returns the HTML file."""
    import yaml

    config = yaml.safe_load((project() / "_config.yml").read_text("utf-8"))
    config["bibtex_bibfiles"] = [str(project() / bib) for bib in config["bibtex_bibfiles"]]
    extensions, settings = config["sphinx"]["local_extensions"], config["sphinx"]["config"]
    extensions |= {name: str(project() / folder) for name, folder in extensions.items()}
    settings["html_static_path"] = [str(project() / folder) for folder in settings["html_static_path"]]
    for name in ("html_favicon", "html_search_scorer"):
        settings[name] = str(project() / settings[name])
    out = built() / "_build" / "pages" / path.parent.name
    work = temporary(out)
    clear(out.parent)
    page = shutil.copytree(path.parent, work / "source", ignore=shutil.ignore_patterns(".*")) / path.name
    here = page.with_name("_config.yml")
    here.write_text(yaml.safe_dump(config), "utf-8")
    text = OTHER.sub(r"\1", page.read_text("utf-8"))  # pages that are not beside this one
    notebook = json.loads(text)
    if "{cite" in text:  # in the book they stand on a page of their own
        cell = {"cell_type": "markdown", "id": "references", "metadata": {}, "source": REFERENCES}
        notebook["cells"].append(cell)
    page.write_text(json.dumps(notebook), "utf-8")
    build = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", build, "build", str(page), "-q", "--config", str(here), "--path-output",
               str(work)]
    done = subprocess.run(command, capture_output=True, text=True)
    page = next(work.rglob(f"html/{path.stem}.html"), None)
    if page is None:
        said = re.findall(r"(?m)^\S*(?:Error|Exception): (.+)", done.stderr) or ["no message"]
        raise HsiError(f"{path.name}: could not be rendered ({said[-1]})")
    if out.exists():
        out.rename(work / "before")
    page.parent.rename(out)
    shutil.rmtree(work)
    return out / page.name
