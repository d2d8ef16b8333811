"""Offline link check of the built site: every local link and picture exists, every anchor too, nothing is fetched."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}
NOT_LOADED = {"canonical", "next", "prev", "search", "index", "author", "license"}


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[k] for k in ("id", "name") if found.get(k)}
        for key in ("href", "src"):
            if found.get(key):
                loads = (tag, key) in LOADS and not set((found.get("rel") or "").split()) & NOT_LOADED
                (self.loads if loads else self.links).append(found[key])


def problems(site):
    pages = {path: Page(path.read_text(errors="replace")) for path in site.rglob("*.html") if "_static" not in path.parts}
    out = [] if pages else [f"{site}: no page"]
    for path, page in pages.items():
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https") or link.startswith("//"):
                if link in page.loads:
                    out.append(f"{path.relative_to(site)}: loads {link} from outside")
                continue
            if parts.scheme or link.startswith("#") and len(link) == 1:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target = target / "index.html"
            if not target.exists():
                out.append(f"{path.relative_to(site)}: {link} does not exist")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                out.append(f"{path.relative_to(site)}: {link} has no such anchor")
    return sorted(set(out))


if __name__ == "__main__":
    found = problems(Path(sys.argv[1]).resolve())
    print("\n".join(found) or "links: all local links resolve, nothing is loaded from outside")
    sys.exit(bool(found))
