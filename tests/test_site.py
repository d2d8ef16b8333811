"""The built site in a real browser: no console error, no outside request, nothing wider than the window, search works.

Needs `make book` and Chromium; says what is missing otherwise.
"""

import http.server
import json
import re
import shutil
import subprocess
import threading
from functools import partial
from pathlib import Path

import pytest

from check_links import problems

SITE = Path(__file__).resolve().parents[1] / "_build" / "html"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"

HARNESS = """<!doctype html><body><script>
for (const width of [1280, 390]) {  // a window and a telephone
  const f = document.createElement("iframe");
  f.style.width = width + "px"; f.style.height = "900px"; f.src = new URLSearchParams(location.search).get("page");
  f.onload = () => setTimeout(() => {
    const root = f.contentDocument.documentElement;
    document.body.insertAdjacentHTML("beforeend", `<p id=w${width}>${root.scrollWidth}</p>`);
  }, 500);
  document.body.append(f);
}
</script>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/harness"):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(HARNESS.encode())
        elif self.path.startswith("/favicon"):
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    if not (SITE / "index.html").exists():
        pytest.skip("needs the built site: make book")
    if BROWSER is None:
        pytest.skip("needs Chromium on the path")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def visit(url, folder):
    """(DOM after load, console errors)."""
    command = [BROWSER, *QUIET.split(), f"--user-data-dir={folder}", "--enable-logging=stderr", "--virtual-time-budget=8000"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout, re.findall(r"CONSOLE[:(].*(?:Uncaught|[Ee]rror|Failed|Refused|ERR_).*", done.stderr)


def pages():
    return sorted(p.relative_to(SITE).as_posix() for p in (SITE / "book").rglob("*.html")) if SITE.exists() else ["none"]


@pytest.mark.parametrize("page", pages())
def test_page_loads_cleanly_and_fits(address, page, tmp_path):
    dom, errors = visit(f"{address}/harness?page=/{page}", tmp_path)
    assert not errors
    for width in (1280, 390):
        assert int(re.search(rf'id="?w{width}"?>(\d+)', dom).group(1)) <= width, f"{page} is wider than {width} pixels"


def test_search_finds_leakage(address, tmp_path):
    dom, _ = visit(f"{address}/search.html?q=leakage", tmp_path)
    assert "02-scenes.html" in dom.split('id="search-results"')[-1]


def test_links(address):
    assert problems(SITE) == []


def test_no_page_shows_what_went_to_stderr():
    chapters = sorted((SITE.parents[1] / "book" / "chapters").glob("*.ipynb"))
    if not chapters:
        pytest.skip("needs the executed chapters: make book")
    for path in chapters:
        outputs = [out for cell in json.loads(path.read_text())["cells"] for out in cell.get("outputs", [])]
        shown = "".join("".join(out["text"]) for out in outputs if out.get("name") == "stderr")
        assert not shown, f"{path.name}: {shown[:300]}"
