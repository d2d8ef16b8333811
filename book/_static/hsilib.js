// Pages of the book: code hides behind one switch, words are explained.
// Without this script everything is shown.
"use strict";
document.documentElement.classList.add("hsi-js");

document.addEventListener("DOMContentLoaded", () => {
  forwardToggles();
  searchSentences();
  chooseTables();
  explainOnDemand();
  switchCode();
  explainMarks();
  explainWords();
  nameButtons();
});

function make(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// Buttons of the theme are called by the text that they show.
function nameButtons() {
  for (const button of document.querySelectorAll(".search-button-field")) button.removeAttribute("aria-label");
  for (const button of document.querySelectorAll(".theme-switch-button")) {
    button.setAttribute("aria-label", "Color mode: Light, Dark, System Settings");
  }
}

// The theme binds the first button of each kind, which is hidden: the others press that one.
function forwardToggles() {
  for (const kind of [".primary-toggle", ".secondary-toggle"]) {
    const [first, ...others] = document.querySelectorAll(kind);
    for (const button of others) button.addEventListener("click", () => first.click());
  }
}

// ---- claims --------------------------------------------------------------------------------------------

// What the marks of claims mean stands once a page, below the first of them; the first page says more.
function explainMarks() {
  const first = document.querySelector("article .hsi-claim")?.closest(".cell");
  if (!first || location.pathname.includes("00-overview")) return;
  const more = make("a", { href: "24-claims.html" }, "How a claim is decided");
  first.after(make("p", { className: "hsi-key" }, "✓ the runs bear it out, ✗ they say the opposite, ○ they do not ",
    "decide. Intervals are 95 %, over seeds and test fields where networks are compared. ", more, "."));
}

// ---- code ----------------------------------------------------------------------------------------------

function switchCode() {
  const cells = [...document.querySelectorAll(".cell.tag_hide-input > details.above-input")];
  const place = document.querySelector(".article-header-buttons");
  if (!cells.length || !place) return;
  const button = make("button", { className: "btn btn-sm hsi-code-switch", type: "button" });
  const show = (on) => {
    document.documentElement.classList.toggle("hsi-code", on);
    cells.forEach((cell) => (cell.open = on));
    button.textContent = on ? "Hide code" : "Show code";
    button.setAttribute("aria-pressed", on);
  };
  button.onclick = () => show(button.getAttribute("aria-pressed") !== "true");
  show(false);
  place.prepend(button);
}

// ---- words ---------------------------------------------------------------------------------------------

function explainWords() {
  const words = window.hsiWords || {};
  const article = document.querySelector("article");
  if (!article || !Object.keys(words).length || document.querySelector("section#glossary, section#bibliography, dl.py")) return;
  const escaped = Object.keys(words).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const pattern = new RegExp(`(?<![\\w-])(${escaped.sort((a, b) => b.length - a.length).join("|")})(?![\\w-])`);
  const skip = "a, code, pre, abbr, h1, h2, h3, h4, script, style, summary, button, select, .math, .hsi-app";
  for (const scope of [...article.querySelectorAll("section, thead")]) {
    const seen = new Set();
    const walker = document.createTreeWalker(scope, NodeFilter.SHOW_TEXT);
    const texts = [];
    while (walker.nextNode()) texts.push(walker.currentNode);
    for (let text of texts) {
      if (text.parentElement.closest(skip) || text.parentElement.closest("section, thead") !== scope) continue;
      for (let found; (found = pattern.exec(text.data)); ) {
        const word = found[1];
        const rest = text.splitText(found.index);
        text = rest.splitText(word.length);
        if (seen.has(word)) continue;
        seen.add(word);
        const shown = make("abbr", { textContent: word, tabIndex: 0 });
        shown.dataset.tip = words[word];
        rest.replaceWith(shown);
      }
    }
  }
}

// ---- tooltips: by pointer, focus and tap ------------------------------------------------------------------

function explainOnDemand() {
  const tip = make("div", { className: "hsi-tip", id: "hsi-tip", role: "tooltip", hidden: true });
  document.body.append(tip);
  const of = (event) => (event.target.closest ? event.target.closest("[data-tip]") : null);
  let shown = null;
  const hide = () => {
    if (shown) shown.removeAttribute("aria-describedby");
    tip.hidden = true;
    shown = null;
  };
  const show = (event) => {
    const node = of(event);
    if (!node) return event.type === "click" ? hide() : undefined;
    if (shown === node) return;
    hide();
    shown = node;
    tip.textContent = node.dataset.tip;
    tip.hidden = false;
    node.setAttribute("aria-describedby", "hsi-tip");
    const box = node.getBoundingClientRect(), wide = document.documentElement.clientWidth;
    tip.style.left = `${Math.max(8, Math.min(box.left, wide - tip.offsetWidth - 8))}px`;
    const below = box.bottom + 6 + tip.offsetHeight < innerHeight;
    tip.style.top = `${below ? box.bottom + 6 : Math.max(8, box.top - tip.offsetHeight - 6)}px`;
  };
  for (const name of ["pointerover", "focusin", "click"]) document.addEventListener(name, show);
  document.addEventListener("pointerout", (event) => of(event) && event.pointerType === "mouse" && hide());
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  addEventListener("scroll", hide, { passive: true });
}

// ---- a table of which one part is shown at a time ---------------------------------------------------------

function chooseTables() {
  for (const box of document.querySelectorAll("[data-choose]")) {
    // the column that is chosen from stands last, and is seen where all lines are
    const [head, ...cells] = [...box.querySelectorAll("tr")].map((line) => line.children[box.dataset.choose]);
    for (const cell of [head, ...cells]) cell.parentNode.append(cell);
    const select = make("select", { className: "form-select" });
    for (const name of new Set(cells.map((cell) => cell.textContent))) {
      select.append(make("option", { value: name, textContent: name }));
    }
    select.append(make("option", { value: "", textContent: "all" }));
    const show = (name) => {
      for (const cell of cells) cell.parentNode.hidden = name !== "" && cell.textContent !== name;
      for (const cell of [head, ...cells]) cell.style.display = name === "" ? "" : "none";
    };
    select.onchange = () => show(select.value);
    show(select.value);
    box.before(make("label", { className: "hsi-field" }, head.textContent, select));
    addEventListener("beforeprint", () => show(""));
    addEventListener("afterprint", () => show(select.value));
  }
}

// ---- what the search shows of a page: its sentences --------------------------------------------------------

function searchSentences() {
  if (typeof Search === "undefined" || !Search.htmlToText) return;
  const plain = Search.htmlToText;
  Search.htmlToText = (html, anchor) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    const without = "details.above-input, .cell_input, pre, script, style, table, .hsi-app, .headerlink";
    page.querySelectorAll(without).forEach((node) => node.remove());
    return plain(page.documentElement.outerHTML, anchor);
  };
}
