"""The built site in a real browser: no console error, no outside request, nothing wider than the window, search works.

Needs `make book` and Chromium; says what is missing otherwise.
"""

import gzip
import http.server
import json
import random
import re
import shutil
import threading
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import pandas as pd
import pytest
from hsibook import apps
from hsibook.stats import paired
from hsilib import Store, family, make_run, split_of
from hsilib.errors import HsiError

SITE = Path(__file__).resolve().parents[1] / "_build" / "html"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ALONE = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]  # no outside request
RESULTS = SITE.parents[1] / "book" / "results"


@pytest.fixture(scope="module")
def opened():
    """What opens a page of the site, or one at an address, in a window so wide, and finds no error on its console."""
    if not (SITE / "index.html").exists():
        pytest.skip("needs the built site: make book")
    if BROWSER is None:
        pytest.skip("needs Chromium on the path")
    sync_api = pytest.importorskip("playwright.sync_api")
    wrong = re.compile(r"Uncaught|[Ee]rror|Failed|Refused|ERR_")  # the theme also says how it chose its mode
    serve = partial(http.server.SimpleHTTPRequestHandler, directory=SITE)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    @contextmanager
    def open_page(place, width=1280):
        page, errors = browser.new_page(viewport={"width": width, "height": 900}), []
        page.on("console", lambda message: errors.append(message.text) if wrong.search(message.text) else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        try:
            page.goto(urljoin(f"http://127.0.0.1:{server.server_port}", place), wait_until="load")
            page.wait_for_timeout(250)
            yield page
            assert not errors
        finally:
            page.close()

    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=ALONE)  # one for all tests
        yield open_page
        browser.close()
    server.shutdown()
    server.server_close()


def pages():
    return sorted(p.relative_to(SITE).as_posix() for p in (SITE / "book").rglob("*.html")) if SITE.exists() else ["none"]


@pytest.mark.parametrize("page", pages())
def test_page_loads_cleanly_and_fits(opened, page):
    with opened(f"/{page}") as shown:
        for width in (1280, 390):  # a window and a telephone
            shown.set_viewport_size({"width": width, "height": 900})
            shown.wait_for_timeout(100)
            wide = shown.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{page} is wider than {width} pixels"


ANSWERS = {"onboard": "16-compact", "memory": "16-compact", "okddip": "07-online", "kappa": "glossary", "leakage": "02-scenes"}


@pytest.mark.parametrize("word", ANSWERS)
def test_search_puts_the_page_first_that_is_about_a_word_and_shows_sentences(word, opened):
    with opened(f"/search.html?q={word}") as page:
        page.locator("#search-results .context").first.wait_for()
        page.wait_for_timeout(500)
        first, shown = page.locator("#search-results li a").first.get_attribute("href"), "#search-results .context"
        assert Path(first.partition("?")[0].partition("#")[0]).stem == ANSWERS[word]
        assert not re.search(r"import |= pd\.|def \w+\(|\{\"", " ".join(page.locator(shown).all_inner_texts()))


def test_the_whole_book_is_printed_in_its_order(opened, tmp_path, monkeypatch):
    pypdf = pytest.importorskip("pypdf")
    monkeypatch.syspath_prepend(SITE.parents[1] / "book" / "report")
    import pdf

    ordered = pdf.pages()
    assert len(ordered) > 20 and ordered[0].endswith("00-overview")
    monkeypatch.setattr(pdf, "pages", lambda: [ordered[1], ordered[-1]])
    with pytest.raises(HsiError, match="make book first"):
        pdf.printed(tmp_path, tmp_path / "book.pdf")
    assert pdf.printed(SITE, tmp_path / "book.pdf") == len(pypdf.PdfReader(tmp_path / "book.pdf").pages) > 2
    titles = [one.title for one in pypdf.PdfReader(tmp_path / "book.pdf").outline]
    assert titles == ["1. Quick start", "Bibliography"], "bookmarks are the titles of the pages"


CHAPTERS = "/book/chapters"


def ask(opened, page, script, width=1280):
    """What a script returns that runs in a page of the site."""
    with opened(page, width) as shown:
        return shown.evaluate(f"(async () => {{{script}}})()")


def chosen(networks, budget):
    """The chooser's answer, computed anew: its name, how many fit, the next, and the difference to that."""

    def fits(value, limit):
        return limit is None or (value is not None and value <= limit)

    some = [n for n in networks if n["scene"] == budget["scene"] and fits(n["payload"], budget["bytes"])]
    some = [n for n in some if fits(n["macs"], budget["macs"]) and fits(n["flash"], budget["flash"])]
    steps = (budget["width"] - 64) / (145 - 64)  # a state grows by as many bytes with each pixel of a line
    some = [n for n in some if fits(n["ram"] and n["ram64"] + steps * (n["ram"] - n["ram64"]), budget["ram"])]
    if not some:
        return [0, None, None, None]
    tables = []
    for n in some:
        table = n["table"]
        score = table[["oa", "aa30"]].mean(axis=1) if budget["metric"] == "both" else table[budget["metric"]]
        picks = score.index.isin([0, 2, 4])
        tables.append((score[picks].mean(), -n["payload"], n["name"], score[~picks]))
    first, *others = sorted(tables, key=lambda entry: entry[:2], reverse=True)
    if not others:
        return [1, first[2], None, None]
    both = first[3].index.intersection(others[0][3].index)
    gap = paired(first[3][both], others[0][3][both])[:3] if len(both) > 1 else None
    return [len(some), first[2], others[0][2], gap and [float(value) for value in gap]]


def test_the_chooser_answers_as_the_store_does_and_can_be_used(opened, monkeypatch):
    monkeypatch.setenv("HSILIB_PUBLISHED", str(RESULTS))
    networks = apps.networks(Store(RESULTS).rows())
    for n in networks:
        n["table"] = pd.DataFrame({metric: n[metric] for metric in ("oa", "aa30", "aa")}, n["seed"])
    rng, scenes = random.Random(0), sorted({n["scene"] for n in networks})
    budgets = [{
        "scene": rng.choice(scenes), "metric": rng.choice(["oa", "aa30", "aa", "both"]), "ram": rng.choice([None, None, 1e5]),
        "flash": rng.choice([None, None, 8000]), "bytes": rng.choice([None, 10 ** rng.uniform(3.3, 6.5)]),
        "macs": rng.choice([None, 10 ** rng.uniform(4, 7.5)]), "width": rng.choice([64, 145, 300]),
    } for _ in range(100)]
    script = """const data = JSON.parse(document.querySelector(".hsi-app script").textContent);
const told = BUDGETS.map((budget) => { const r = hsiChoose(data.networks, budget);
  return [r.count, r.best?.name ?? null, r.next?.name ?? null, r.gap && [r.gap.mean, r.gap.low, r.gap.high]]; });
const [bytes] = document.querySelectorAll(".hsi-form input");
const answer = () => document.querySelector(".hsi-answer").textContent;
const used = [answer()];
for (const value of ["5", "0.001"]) { bytes.value = value; bytes.dispatchEvent(new Event("input")); used.push(answer()); }
return [told, used];"""
    told, used = ask(opened, f"{CHAPTERS}/00-overview.html", script.replace("BUDGETS", json.dumps(budgets)), 390)
    for budget, answer in zip(budgets, told):
        wanted = chosen(networks, budget)
        assert answer[:3] == wanted[:3], budget
        if wanted[3] and not np.isnan(wanted[3]).any():
            assert answer[3] == pytest.approx(wanted[3], abs=0.02), budget
    ten, five, none = used
    assert "Lens" in ten and "kB" in five and ten != five and "No network" in none


@pytest.mark.parametrize("query, x, y", [("", "payload", "oa"), ("?family=distillation&size=98+%25&x=macs&y=aa", "macs", "aa")])
def test_the_explorer_counts_as_pandas_does(opened, query, x, y):
    rows = Store(RESULTS).rows()
    rows = rows[(rows["scene"] == "indian_pines_8bit") & (rows["split"] == "disjoint")]
    if query:
        taught = [*family("offline"), *family("online"), *family("self")]
        rows = rows[rows["method"].isin(taught) & (rows["ratio"] == 98)]
    means = rows.assign(key=apps.names(rows)).groupby(["key", "epochs"])[["oa", "aa", x]].mean()
    costed = means.dropna().sort_values([x, y], ascending=[True, False])
    front = costed[costed[y] > costed[y].cummax().shift(fill_value=-1)]
    script = """const box = document.querySelector('.hsi-app');
return {...box.dataset, lines: box.querySelectorAll('tbody tr').length};"""
    told = ask(opened, f"{CHAPTERS}/17-explorer.html{query}", script)
    assert (int(told["runs"]), int(told["networks"]), told["lines"]) == (len(rows), len(means), len(means))
    assert len(json.loads(told["front"])) == pytest.approx(len(front), abs=1)  # rounded accuracies may tie
    assert json.loads(told["front"])[-1].partition(", 60")[0] == front.index[-1][0]


def test_the_swipe_shows_the_stored_maps_and_its_readout_follows(opened):
    store = Store(RESULTS)
    card = store.card("indian_pines_8bit")[0]
    split = split_of(card, "disjoint", 0)
    run = make_run("indian_pines_8bit", "disjoint", "cnn2d").id
    wrong = int((store.read_map(run).ravel()[split.test] != split.test_y + 1).sum())
    with opened(f"{CHAPTERS}/18-maps.html") as page:
        page.wait_for_timeout(800)
        canvas, told = page.locator(".hsi-canvas"), page.locator(".hsi-readout")
        canvas.focus()
        page.keyboard.press("ArrowRight")
        before = canvas.evaluate("one => one.toDataURL()")
        slide = "one => { one.value = 0; one.dispatchEvent(new Event('input')); }"
        page.locator(".hsi-app input[type=range]").first.evaluate(slide)
        assert before != canvas.evaluate("one => one.toDataURL()")
        assert json.loads(page.locator(".hsi-app").get_attribute("data-wrong"))["left"] == wrong
        assert page.locator(".hsi-bars tbody tr").count() == len(card.classes)
        assert re.match(r"Row \d+, column \d+: .*; left says .*, right says ", told.inner_text())
        page.locator(".hsi-app select").first.select_option("1")
        page.wait_for_timeout(800)
        assert told.inner_text().startswith("Point at") and page.locator(".hsi-curve svg").count() == 0


@pytest.mark.parametrize("name, mark", [("00-overview", "hsi-best"), ("17-explorer", 'class="point"'), ("18-maps", "hsi-swatch")])
def test_parts_work_from_a_folder_without_a_server(opened, name, mark):
    with opened((SITE / "book" / "chapters" / f"{name}.html").as_uri()) as page:
        page.wait_for_timeout(600)
        assert mark in page.content()


def test_code_hides_behind_one_switch(opened):
    with opened(f"{CHAPTERS}/02-scenes.html") as page:
        cells = page.locator(".cell.tag_hide-input > details.above-input")
        shown = "all => all.filter((one) => one.offsetHeight > 0).length"
        assert cells.count() > 2 and cells.evaluate_all(shown) == 0
        page.locator(".hsi-code-switch").click()
        assert cells.evaluate_all(shown) == cells.count()


def test_pages_are_light():
    """A first visit: text compressed as servers send it, of the pictures those near the top; and the site in all."""
    if not SITE.exists():
        pytest.skip("needs the built site: make book")
    assert sum(path.stat().st_size for path in SITE.rglob("*") if path.is_file()) < 40e6
    light = cache(lambda file: len(gzip.compress(file.read_bytes())) if file.exists() else 0)
    for page in (SITE / "book").rglob("*.html"):
        shown = page.read_text()
        named = re.findall(r'<(?:img|script)[^>]* src="([^":]+)"|<link[^>]* href="([^":]+\.css[^"]*)"', shown)
        named = [name for name in named if ".png" not in name[0]] + [name for name in named if ".png" in name[0]][:3]
        files = {(page.parent / (src or link).partition("?")[0]).resolve() for src, link in named} | {page}
        size = sum(map(light, files))
        assert size < 1.5e6, f"{page.name}: {size / 1e6:.2f} MB"


AXE = SITE.parent / "axe" / "package" / "axe.min.js"


@pytest.mark.parametrize("page", ["00-overview", "06-offline", "11-what-to-believe", "17-explorer", "18-maps", "24-claims"])
def test_axe_reports_no_serious_violation(opened, page):
    if not AXE.exists():
        pytest.skip("needs axe-core: npm pack axe-core in _build/axe, unpacked")
    script = AXE.read_text() + """;
document.querySelectorAll("details").forEach((one) => (one.open = true));
const found = await axe.run(document, {resultTypes: ["violations"]});
return found.violations.filter((one) => ["serious", "critical"].includes(one.impact)).map((one) => one.id);"""
    assert ask(opened, f"{CHAPTERS}/{page}.html", script) == []


@pytest.mark.parametrize("width", [390, 1280])
def test_the_menu_and_the_contents_open_at_every_width(opened, width):
    with opened(f"{CHAPTERS}/11-what-to-believe.html", width) as page:
        seen = page.locator("#pst-primary-sidebar a, #pst-primary-sidebar-modal a").filter(has_text="Glossary")
        before = seen.first.is_visible()
        page.locator(".primary-toggle:visible").first.click()
        page.wait_for_timeout(500)
        assert seen.first.is_visible() != before, "the menu opens, or closes where it was open"
        if width < 992:
            page.keyboard.press("Escape")
            page.wait_for_timeout(300)
        contents = page.locator(".page-toc a").first
        if not contents.is_visible():
            page.locator(".secondary-toggle:visible").first.click()
            page.wait_for_timeout(500)
        assert contents.is_visible()


CONTRAST = """(nodes) => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = (node) => { for (; node; node = node.parentElement) {
    const [r, g, b, a = 1] = rgb(getComputedStyle(node).backgroundColor);
    if (a > 0.5) return [r, g, b]; } return [255, 255, 255]; };
  return nodes.map((node) => {
    const look = getComputedStyle(node), fill = node.namespaceURI.endsWith("svg") ? look.fill : look.color;
    const [a, b] = [light(rgb(fill)), light(ground(node))]; return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); });
}"""


@pytest.mark.parametrize(
    "name, parts",
    [
        ("00-overview", ".hsi-answer p, .hsi-claim small"), ("17-explorer", ".hsi-plot text, .hsi-table td, .btn"),
        ("11-what-to-believe", ".hsi-claim, .hsi-table td, .hsi-caption, figcaption"), ("24-claims", ".hsi-table td"),
    ],
)
def test_dark_mode_stays_readable_and_print_whole(opened, name, parts):
    with opened(f"{CHAPTERS}/{name}.html") as page:
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        page.wait_for_timeout(300)
        found = page.eval_on_selector_all(parts, CONTRAST)
        assert found and min(found) > 4.5, min(found)
        page.emulate_media(media="print")  # a figure stays with its caption, and a wide table is not cut off
        looks = page.eval_on_selector_all("article figure", "all => all.map((one) => getComputedStyle(one).breakInside)")
        wide = page.eval_on_selector_all(".hsi-scroll", "all => all.map((one) => getComputedStyle(one).overflowX)")
        assert set(looks) <= {"avoid"} and set(wide) <= {"visible"}


def test_words_explain_themselves_to_keys_and_to_a_finger(opened):
    with opened(f"{CHAPTERS}/11-what-to-believe.html", 390) as page:
        word, tip = page.locator("article abbr[data-tip]:visible").first, page.locator("#hsi-tip")
        assert not tip.is_visible()
        word.focus()
        assert tip.is_visible() and tip.inner_text() == word.get_attribute("data-tip")
        page.keyboard.press("Escape")
        assert not tip.is_visible()
        word.click()
        assert tip.is_visible()
        box = tip.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390


def test_a_table_of_the_paper_is_chosen_and_scrolls_in_its_box_on_a_telephone(opened):
    with opened(f"{CHAPTERS}/10-paper-versus-ours.html", 390) as page:
        choice = page.locator("label.hsi-field select").first
        lines = page.locator("[data-choose] tbody").first.locator("tr:visible")
        tables = {}
        for name in ("Table 3", "Table 10", ""):
            choice.select_option(name)
            tables[name] = lines.count()
        assert 0 < tables["Table 10"] != tables["Table 3"] < tables[""]
        assert page.locator("[data-choose]").first.bounding_box()["height"] < 900
        assert page.evaluate("document.documentElement.scrollHeight") < 25_000


def test_a_view_of_the_explorer_has_an_address_and_can_be_taken_along(opened):
    with opened(f"{CHAPTERS}/17-explorer.html") as page:
        page.locator(".point").first.focus()
        assert "seeds" in page.locator("#hsi-tip").inner_text()
        page.locator(".hsi-form select").nth(2).select_option("pruning")
        page.locator(".hsi-form select").last.select_option("1")
        link, box = page.locator(".hsi-permalink").get_attribute("href"), page.locator(".hsi-app")
        assert "family=pruning" in link and "front=1" in link
        shown = page.locator(".hsi-app tbody tr td:first-child").all_inner_texts()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download what is shown").click()
        rows = pd.read_csv(download.value.path())
        assert set(rows["network"]) == set(shown) and len(rows) < int(box.get_attribute("data-runs"))
    with opened(link) as page:
        assert page.locator(".hsi-app tbody tr td:first-child").all_inner_texts() == shown
