"""What the book's pages have beyond the theme: words explained, an edit date, no script that a page does not
use."""

import json
import os
import re
import subprocess
from pathlib import Path

from docutils import nodes

BOOK = Path(__file__).resolve().parents[1]
TERM = re.compile(r"^([^\s:#].*)\n: (.+(?:\n  .+)*)", re.M)


def words():
    """{word: what it means} from the glossary."""
    found = TERM.findall((BOOK / "glossary.md").read_text())
    return {word: re.sub(r"\[([^]]*)\]\([^)]*\)|[*`]", r"\1", " ".join(text.split())) for word, text in found}


def explain(app):
    """Every page knows the glossary: a word is explained when the pointer or the focus is on it."""
    app.add_js_file(None, body=f"window.hsiWords = {json.dumps(words(), ensure_ascii=False)};", priority=400)


def chapter_of(name):
    """The chapter that a page is made from, which may be a page for each family of methods."""
    chapter = name.rpartition("-")[0]
    return chapter if chapter and (BOOK.parent / "notebooks" / f"{chapter}.md").exists() else name


def edited(pagename):
    """The day a page's source was last changed, "" outside of a checkout."""
    name = Path(pagename).name
    sources = [BOOK.parent / "notebooks" / f"{chapter_of(name)}.md", BOOK.parent / f"{pagename}.md"]
    source = next((path for path in sources if path.exists()), None)
    command = ["git", "-C", str(BOOK), "log", "-1", "--format=%cs", "--", str(source)]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() if source else ""
    except OSError:  # no git
        return ""


def plain(app, what, name, of, options, signature, returns):
    """Signatures with short names and without defaults that have no text: Sphinx cannot read those itself."""
    if not signature or not re.search(r"<(factory|function)", signature):
        return None
    texts = (re.sub(r"~(?:\w+\.)+", "", text) if text else text for text in (signature, returns))
    signature, returns = texts
    return re.sub(r"<factory>|<function \S+>", "…", signature), returns


SITES = {"binderhub_url": "https://mybinder.org", "colab_url": "https://colab.research.google.com"}
OPENED = "01-quickstart", "13-write-your-own"  # the notebooks that install what they need (.ci/notebooks)


def at_home(app, config):
    """Link pages to their sources and to where they run, if the repository's address is known."""
    if url := os.environ.get("HSILIB_REPOSITORY"):
        known = {"repository_url": url, "repository_branch": "main", "use_source_button": True}
        config.html_theme_options = {**config.html_theme_options, **known, "launch_buttons": SITES}


def launched(url):
    """Where a page runs: in Binder all do (.binder), in Colab those of the branch ``notebooks``."""
    name = url.rpartition("/")[2].removesuffix(".ipynb")
    if "colab" in url:
        return re.sub(r"blob/.*", f"blob/notebooks/{name}.ipynb", url) if name in OPENED else None
    return re.sub(r"book/chapters/([\w-]+\.ipynb)", r"my-notebooks/\1", url)


def to_sources(buttons):
    """Let the theme's links to a repository lead to the sources of chapters, not to executed notebooks, which
    no repository has."""
    for button in list(buttons):
        if isinstance(button.get("url"), str) and button["url"].startswith(tuple(SITES.values())):
            button["url"] = launched(button["url"])
            if button["url"] is None:
                buttons.remove(button)
        elif isinstance(button.get("url"), str):
            url = button["url"]
            found = re.search(r"book/chapters/([\w-]+)\.ipynb", url)
            button["url"] = url.replace(found[0], f"notebooks/{chapter_of(found[1])}.md") if found else url
        to_sources(button.get("buttons", ()))


def trim(app, pagename, templatename, context, doctree):
    """Drop the live-code scripts that Jupyter Book 1.x adds to every page (declared twice, which is a console
    error, and the only thing on a page that names an outside address), and the formulas' script where a page
    has none."""
    kinds = nodes.math | nodes.math_block
    formulas = doctree is not None and any(doctree.findall(lambda node: isinstance(node, kinds)))

    def wanted(script):
        file = str(getattr(script, "filename", script)).lower()
        attributes = str(getattr(script, "attributes", ""))
        return not ("thebe" in file or "THEBE" in attributes or "mathjax" in file and not formulas)

    context["script_files"] = [script for script in context.get("script_files", []) if wanted(script)]
    if context.get("theme_repository_url"):
        to_sources(context.get("header_buttons", ()))
    if "body" in context:  # what is folded away is loaded when it is opened
        context["body"] = context["body"].replace("<img ", '<img loading="lazy" ')
    context["last_updated"] = edited(pagename) or context.get("last_updated")


ICONS = {"file", "download", "xmark", "check", "copy"}  # that scripts may put on a page
ICON = re.compile(r'((?:"[\w-]+"|\b\w+)):\[\d+,\d+,\[[^\]]*\],"[0-9a-f]+",(?:"[^"]*"|\[(?:"[^"]*",?)+\])\],?')


def lighten(app, exception):
    """Leave out what no page asks for: other builds of the formulas' script, and maps for who debugs it."""
    static = Path(app.outdir) / "_static"
    unused = [path for path in (static / "mathjax").glob("*.js") if path.name != "tex-chtml.js"]
    icons = static / "scripts" / "fontawesome.js"
    if icons.exists():  # a definition of each of two thousand icons, of which pages use a dozen
        pages = (path.read_text() for path in Path(app.outdir).rglob("*.html"))
        used = {name for text in pages for name in re.findall(r"\bfa-([a-z-]+)", text)} | ICONS
        text = ICON.sub(lambda m: m.group() if m.group(1).strip('"') in used else "", icons.read_text())
        icons.write_text(text)
    for path in [*unused, *static.rglob("*.map"), *(static / "mathjax" / "output" / "svg").rglob("*.js")]:
        path.unlink()


def setup(app):
    app.connect("config-inited", at_home)
    app.connect("builder-inited", explain)
    app.connect("autodoc-process-signature", plain)
    app.connect("html-page-context", trim, priority=900)
    app.connect("build-finished", lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
