"""The whole book as one PDF: each page of the built site as Chromium prints it, in the order of the contents.

    make pdf
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from pypdf import PdfWriter

from hsilib.errors import HsiError
from hsilib.files import project

BROWSERS = "chromium", "chromium-browser", "google-chrome"
QUIET = "--headless --no-sandbox --disable-gpu --no-pdf-header-footer --virtual-time-budget=10000".split()


def pages() -> list[str]:
    """Return the pages of the book, as the table of contents orders them."""
    contents = yaml.safe_load((project() / "_toc.yml").read_text())
    return [contents["root"], *(page["file"] for part in contents["parts"] for page in part["chapters"])]


def browser() -> str:
    """Return the program that prints, or say that there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise HsiError(f"Chromium prints the book, and is not installed ({', '.join(BROWSERS)})")
    return found


def print_page(source: Path, target: Path, folder: Path | str) -> None:
    """Print a page of HTML into a file; the browser's own files go to the folder."""
    words = [*QUIET, f"--user-data-dir={folder}/profile", f"--print-to-pdf={target}", source.as_uri()]
    subprocess.run([browser(), *words], capture_output=True, timeout=120)
    if not target.is_file():
        raise HsiError(f"{source}: the browser did not print it")


def printed(site: Path, target: Path) -> int:
    """Print a site into one file; return the number of its sheets."""
    book = PdfWriter()
    with tempfile.TemporaryDirectory() as folder:
        for page in pages():
            source, sheet = site / f"{page}.html", Path(folder) / f"{Path(page).name}.pdf"
            if not source.is_file():
                raise HsiError(f"{source}: missing; make book first")
            print_page(source, sheet, folder)
            title = source.read_text().partition("<title>")[2].partition(" &#8212;")[0].partition(" —")[0]
            book.append(str(sheet), outline_item=title.strip() or page)
    book.write(str(target))
    return len(book.pages)


def main() -> int:
    site, target = project() / "_build" / "html", project() / "_build" / "hsilib.pdf"
    try:
        print(f"{target.relative_to(project())}: {printed(site, target)} sheets")
    except HsiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
