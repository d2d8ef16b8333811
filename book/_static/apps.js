// The parts of the site that one can use: a chooser, an explorer of all rows, maps under a swipe.
// Each finds its data in its own box; without this script the box shows a table.
"use strict";
(() => {
  const T975 = [0, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145,
    2.131, 2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042];

  document.addEventListener("DOMContentLoaded", () => {
    for (const box of document.querySelectorAll(".hsi-app")) {
      const data = JSON.parse(box.querySelector("script[type='application/json']").textContent);
      box.querySelector(".hsi-scroll").remove();
      ({ chooser, explorer, maps })[box.dataset.kind](box, data);
    }
  });

  // ---- small tools ---------------------------------------------------------------------------------------

  function el(tag, properties = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in node && !name.startsWith("aria")) node[name] = value;
      else node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  function svg(tag, properties = {}, ...children) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(properties)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const sd = (values) => {
    const middle = mean(values);
    return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
  };
  const fixed = (value, digits = 1) => value.toFixed(digits).replace("-", "−");
  const signed = (value) => {  // what rounds to zero has a digit more
    const size = Math.abs(value), text = size.toFixed(size < 0.05 ? 2 : 1);
    return Number(text) ? (value > 0 ? "+" : "−") + text : "0.0";
  };
  const spread = (values) => (values.length > 1 && sd(values) > 0 ? `${fixed(mean(values))} ± ${fixed(sd(values))}` : fixed(mean(values)));

  function field(label, input) {
    return el("label", { className: "hsi-field" }, el("span", {}, label), input);
  }

  function select(options, value, change) {
    const node = el("select", { onchange: change });
    for (const [name, text] of options) node.append(el("option", { value: name, selected: name === value }, text));
    return node;
  }

  // ---- chooser -------------------------------------------------------------------------------------------

  const SCORES = {
    oa: (network) => network.oa,
    aa30: (network) => network.aa30,
    aa: (network) => network.aa,
    both: (network) => network.oa.map((value, place) => (value + network.aa30[place]) / 2),
  };

  // What stands for the seeds that pick, the same for all networks, or for the others, which tell.
  const PICK = new Set([0, 2, 4]);
  const half = (network, values, tells) => values.filter((value, place) => tells !== PICK.has(network.seed[place]));

  // RAM for lines of so many pixels: it grows by as many bytes with each.
  function memory(network, width) {
    return network.ram === null ? null : network.ram64 + (width - 64) * (network.ram - network.ram64) / (145 - 64);
  }

  // The network with the highest mean within a budget.  The seeds that had no part in picking it say how good it
  // is and how it compares with the next.
  function choose(networks, budget) {
    const fits = (value, limit) => limit === null || (value !== null && value <= limit);
    const within = networks.filter((network) => network.scene === budget.scene && fits(network.payload, budget.bytes)
      && fits(network.macs, budget.macs) && fits(memory(network, budget.width), budget.ram) && fits(network.flash, budget.flash));
    const score = SCORES[budget.metric];
    const picking = (network) => mean(half(network, score(network), false));
    const order = [...within].sort((a, b) => picking(b) - picking(a) || a.payload - b.payload);
    const [best, next] = order;
    if (!best) return { count: 0 };
    const fresh = (network) => {
      const values = score(network), seeds = half(network, network.seed, true);
      return new Map(seeds.map((seed) => [seed, values[network.seed.indexOf(seed)]]));
    };
    const against = (network) => {
      const other = fresh(network);
      const pairs = [...fresh(best)].filter(([seed]) => other.has(seed)).map(([seed, value]) => value - other.get(seed));
      const reach = pairs.length > 1 ? (T975[pairs.length - 1] || 1.96) * sd(pairs) / Math.sqrt(pairs.length) : NaN;
      return pairs.length ? { mean: mean(pairs), low: mean(pairs) - reach, high: mean(pairs) + reach, seeds: pairs.length } : null;
    };
    const gap = next ? against(next) : null;
    const ready = best.file ? null : order.find((network) => network.file && !(against(network)?.low > 0));
    return { count: within.length, best, next, gap, ready, behind: ready && against(ready) };
  }
  window.hsiChoose = choose;

  function chooser(box, data) {
    const number = (value, step) => el("input", { type: "number", min: 0, step, value, oninput: answer });
    const inputs = {
      scene: select(Object.entries(data.scenes), undefined, answer),
      bytes: number(10, "any"), flash: number("", "any"), ram: number("", "any"), macs: number("", "any"),
      width: el("input", { type: "number", min: 1, step: 1, value: 64, oninput: answer }),
      metric: select([["oa", "overall accuracy"], ["aa30", "AA30: average over classes of 30 test pixels or more"], ["both", "the mean of both"], ["aa", "average over all classes"]], "both", answer),
    };
    const out = el("div", { className: "hsi-answer", "aria-live": "polite" });
    const limit = (name, scale) => (inputs[name].value === "" ? null : Number(inputs[name].value) * scale);
    function answer() {
      const budget = { scene: inputs.scene.value, metric: inputs.metric.value, bytes: limit("bytes", 1000), macs: limit("macs", 1e6), flash: limit("flash", 1000), ram: limit("ram", 1000), width: Number(inputs.width.value) || 64 };
      const { count, best, next, gap, ready, behind } = choose(data.networks, budget);
      if (!count) {
        out.replaceChildren(el("p", {}, "No network that was trained on this scene fits these limits. A limit on flash or RAM excludes networks that have no C code."));
        return;
      }
      const cost = [`${fixed(best.payload / 1000)} kB`];
      if (best.macs !== null) cost.push(`${(best.macs / 1e6).toPrecision(3)} million multiply-adds a pixel`);
      const ram = memory(best, budget.width);
      if (best.flash) cost.push(`${fixed(best.flash / 1000)} kB of flash`);
      if (ram !== null) cost.push(`${fixed(ram / 1000)} kB of RAM for a line of ${budget.width} pixels, that line included`);
      if (best.instructions) cost.push(`${best.instructions.toLocaleString("en")} instructions a pixel on a Cortex-M4 (gcc -O2)`);
      const told = half(best, best.seed, true).length, few = "too few seeds to tell";
      let sure = "Nothing else that was trained on this scene fits.";
      if (next && gap) {
        const interval = Number.isNaN(gap.low) ? "" : ` [${signed(gap.low)}, ${signed(gap.high)}]`;
        const clear = gap.low > 0 ? "better over these seeds" : gap.high < 0 ? "worse over these seeds" : "not shown to differ";
        sure = `Against the next, ${next.name}: ${signed(gap.mean)}${interval} points over ${gap.seeds} paired seeds${told < best.seed.length ? " that did not pick it" : ""}: ${gap.seeds < 3 ? few : clear}.`;
      } else if (next) sure = `The next is ${next.name}; no seed is left to compare them.`;
      const links = el("p", {});
      if (ready) links.append(`Ready to download, and ${behind?.seeds > 2 ? "not shown to differ from it" : few}: ${ready.name}, ${fixed(ready.payload / 1000)} kB, `, el("a", { href: "14-models.html" }, ready.file), ". ");
      if (best.file) links.append(el("a", { href: "14-models.html" }, `Download: ${best.file}`), best.command ? " · " : "");
      if (best.command) links.append(`Export ${best.name}: `, el("code", {}, best.command));
      else if (!best.file) links.append("No single command exports it.");
      const fresh = (values) => spread(half(best, values, true));
      const small = best.small ? ` Over all classes the average is ${fresh(best.aa)} %; the smallest of them have ${best.small.replaceAll(" ", ", ")} test pixels.` : "";
      const seeds = told < best.seed.length ? `the ${told} seeds that did not pick it` : `${told} seeds`;
      out.replaceChildren(
        el("p", { className: "hsi-best" }, best.name), el("p", {}, cost.join(", ")),
        el("p", {}, `Overall accuracy ${fresh(best.oa)} %, AA30 ${fresh(best.aa30)} % (${seeds}${count > 1 ? `; the highest mean of the ${count} networks that fit and have at least ${data.least} seeds` : ""}${budget.flash !== null || budget.ram !== null ? "; those without C are left out" : ""}).${small}`),
        el("p", {}, sure), links,
      );
    }
    box.append(el("form", { className: "hsi-form", onsubmit: (event) => event.preventDefault() },
      field("scene", inputs.scene), field("payload, at most kB", inputs.bytes), field("flash of the C code, at most kB", inputs.flash), field("RAM with stack and a line of spectra, at most kB", inputs.ram), field("pixels of a line", inputs.width),
      field("multiply-adds, at most million", inputs.macs), field("measure of accuracy", inputs.metric)), out);
    answer();
  }

  // ---- explorer ------------------------------------------------------------------------------------------

  const HEADS = { oa: "OA %", aa30: "AA30 %", aa: "AA %", kappa: "κ × 100", f1: "macro-F1 %", payload: "payload, kB", ram64: "RAM, kB", macs: "multiply-adds, M", leakage: "leakage %", epochs: "epochs", seed: "seed" };
  const SCALE = { payload: 1e-3, ram64: 1e-3, macs: 1e-6 };
  const LOG = new Set(["payload", "ram64", "macs"]);
  const COLUMNS = ["name", "scene", "split", "seeds", "oa", "aa30", "aa", "kappa", "f1", "payload", "ram64", "macs", "leakage"];

  function explorer(box, data) {
    const words = Object.keys(data.words), numbers = Object.keys(data.numbers);
    const count = data.words.scene.codes.length;
    const word = (name, row) => data.words[name].values[data.words[name].codes[row]];
    const value = (name, row) => data.numbers[name][row] === null ? null : data.numbers[name][row] * (SCALE[name] || 1);
    const asked = new URLSearchParams(location.search);
    const start = { scene: "indian_pines_8bit", split: "disjoint", family: "", size: "", leak: "", name: "", x: "payload", y: "oa", sort: "oa", down: "1", front: "" };
    const state = {};
    for (const name of Object.keys(start)) state[name] = asked.get(name) ?? start[name];
    const inputs = {};
    const one = (name, values) => {  // an address may ask for what there is not
      if (!values.includes(state[name])) state[name] = values.includes(start[name]) ? start[name] : values[0];
    };
    const pick = (name, options) => {
      one(name, options.map(([value]) => value));
      return (inputs[name] = select(options, state[name], () => set(name, inputs[name].value)));
    };
    one("sort", COLUMNS);
    one("down", ["1", "0"]);
    const all = (name) => [["", "all"], ...data.words[name].values.map((text) => [text, text])];
    const axis = numbers.filter((name) => name !== "seed").map((name) => [name, HEADS[name]]);
    inputs.name = el("input", { type: "search", value: state.name, oninput: () => set("name", inputs.name.value) });
    const families = data.words.family.values.map((name) => {
      const [colour, shape] = data.looks[name] || ["#882255", "o"];
      return el("span", {}, svgOf(mark(shape, 8, 8), colour), name);
    });
    const out = { legend: el("p", { className: "hsi-legend" }, ...families), text: el("p", { "aria-live": "polite" }), plot: el("div", { className: "hsi-plot" }), table: el("div", { className: "hsi-scroll hsi-tall" }) };
    const more = el("button", { type: "button", className: "btn btn-sm", onclick: save }, "Download what is shown (CSV)");
    const link = el("a", { className: "btn btn-sm hsi-permalink", href: location.href }, "Link to this view");
    box.append(el("form", { className: "hsi-form", onsubmit: (event) => event.preventDefault() },
      field("scene", pick("scene", all("scene"))), field("split", pick("split", all("split"))), field("family", pick("family", all("family"))),
      field("size", pick("size", all("size"))), field("leakage", pick("leak", [["", "any"], ["no", "none"], ["some", "some"]])),
      field("name contains", inputs.name), field("x axis", pick("x", axis)), field("y axis", pick("y", axis)),
      field("show", pick("front", [["", "all networks"], ["1", "the Pareto front: no cheaper one is better"]]))), out.text, out.plot, out.legend, more, " ", link, out.table);

    function set(name, to) {
      state[name] = to;
      draw();
    }

    function chosen() {
      const rows = [];
      const text = state.name.toLowerCase();
      for (let row = 0; row < count; row++) {
        if (["scene", "split", "family", "size"].some((name) => state[name] && word(name, row) !== state[name])) continue;
        const leak = data.numbers.leakage[row] || 0;
        if ((state.leak === "no" && leak > 0) || (state.leak === "some" && !(leak > 0))) continue;
        if (text && !word("network", row).toLowerCase().includes(text)) continue;
        rows.push(row);
      }
      return rows;
    }

    function grouped(rows) {
      const groups = new Map();
      for (const row of rows) {
        const key = ["scene", "split", "network"].map((name) => data.words[name].codes[row]).join() + "," + data.numbers.epochs[row];
        if (!groups.has(key)) groups.set(key, []);
        groups.get(key).push(row);
      }
      return [...groups.values()].map((members) => {
        const one = { rows: members, name: word("network", members[0]), scene: word("scene", members[0]), split: word("split", members[0]), family: word("family", members[0]), seeds: members.length };
        for (const name of numbers) {
          const some = members.map((row) => value(name, row)).filter((number) => number !== null);
          one[name] = some.length ? mean(some) : null;
          one[`${name} sd`] = some.length > 1 ? sd(some) : 0;
        }
        return one;
      });
    }

    // those that none with as little or less of x reaches: sorted by x, the running highest of y
    function front(groups) {
      const some = groups.filter((one) => one[state.x] !== null && one[state.y] !== null);
      some.sort((a, b) => a[state.x] - b[state.x] || b[state.y] - a[state.y]);
      let highest = -Infinity;
      return some.filter((one) => one[state.y] > highest && ((highest = one[state.y]), true));
    }

    let rows = [];
    function draw() {
      const all = chosen();
      const groups = grouped(all), best = front(groups);
      const shown = state.front ? best : groups;
      rows = shown.flatMap((one) => one.rows);
      const params = new URLSearchParams();
      for (const [name, now] of Object.entries(state)) if (now !== start[name]) params.set(name, now);
      history.replaceState(null, "", `${location.pathname}${params.size ? "?" + params : ""}${location.hash}`);
      link.href = location.href;
      out.text.textContent = `${all.length} runs of ${groups.length} networks; the line joins the Pareto front: the ${best.length} that no network as cheap or cheaper beats.`;
      box.dataset.runs = all.length;
      box.dataset.networks = groups.length;
      box.dataset.front = JSON.stringify(best.map((one) => one.name));
      out.plot.replaceChildren(scatter(shown, best));
      out.table.replaceChildren(table(shown));
    }

    function scatter(groups, best) {
      const some = groups.filter((one) => one[state.x] !== null && one[state.y] !== null && (!LOG.has(state.x) || one[state.x] > 0));
      const width = 720, height = 380, left = 56, bottom = 46, top = 12, right = 14;
      const to = (name) => (LOG.has(name) ? Math.log10 : (number) => number);
      const range = (name) => {
        const values = some.flatMap((one) => LOG.has(name) ? [to(name)(one[name])] : [one[name] - one[`${name} sd`], one[name] + one[`${name} sd`]]);
        const low = Math.min(...values), high = Math.max(...values), pad = (high - low || 1) * 0.05;
        return [low - pad, high + pad];
      };
      const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${HEADS[state.y]} against ${HEADS[state.x]}; the table below has the same networks` });
      if (!some.length) return picture;
      const [x0, x1] = range(state.x), [y0, y1] = range(state.y);
      const px = (number) => left + ((to(state.x)(number) - x0) / (x1 - x0)) * (width - left - right);
      const py = (number) => height - bottom - ((to(state.y)(number) - y0) / (y1 - y0)) * (height - bottom - top);
      const ticks = (low, high, log) => {
        if (log) {
          const found = [];
          for (let power = Math.floor(low); power <= high; power++) for (const step of [1, 2, 5]) found.push(step * 10 ** power);
          return found.filter((tick) => Math.log10(tick) >= low && Math.log10(tick) <= high);
        }
        const raw = (high - low) / 6, power = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].find((s) => s * power >= raw) * power;
        const found = [];
        for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) found.push(Number(tick.toPrecision(6)));
        return found;
      };
      const gap = matchMedia("(max-width: 600px)").matches ? 90 : 46;  // between the middles of two numbers
      const apart = (found) => found.reduce((kept, tick) => (kept.length && px(tick) - px(kept.at(-1)) < gap ? kept : [...kept, tick]), []);
      for (const tick of apart(ticks(x0, x1, LOG.has(state.x)))) picture.append(svg("line", { x1: px(tick), x2: px(tick), y1: top, y2: height - bottom, class: "grid" }), svg("text", { x: px(tick), y: height - bottom + 16, "text-anchor": "middle" }, String(tick)));
      for (const tick of ticks(y0, y1, LOG.has(state.y))) picture.append(svg("line", { x1: left, x2: width - right, y1: py(tick), y2: py(tick), class: "grid" }), svg("text", { x: left - 6, y: py(tick) + 4, "text-anchor": "end" }, String(tick)));
      picture.append(svg("text", { x: (left + width) / 2, y: height - 8, "text-anchor": "middle" }, HEADS[state.x]), svg("text", { x: 14, y: (top + height - bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(top + height - bottom) / 2})` }, HEADS[state.y]));
      const line = best.filter((one) => some.includes(one)).map((one, place) => (place ? `H${px(one[state.x])}V${py(one[state.y])}` : `M${px(one[state.x])} ${py(one[state.y])}`)).join("");
      if (line) picture.append(svg("path", { d: line, class: "front" }));
      for (const one of some) {
        const x = px(one[state.x]), y = py(one[state.y]), reach = one[`${state.y} sd`];
        const [colour, shape] = data.looks[one.family] || ["#882255", "o"];
        const told = `${one.name}: ${HEADS[state.y]} ${fixed(one[state.y])}${reach ? " ± " + fixed(reach) : ""}, ${HEADS[state.x]} ${one[state.x].toPrecision(4)} (${one.seeds} seeds, ${one.scene}, ${one.split})`;
        const point = svg("g", { class: "point", tabindex: 0, role: "img", "aria-label": told, "data-tip": told, fill: ink(colour), stroke: ink(colour) });
        if (reach) point.append(svg("line", { x1: x, x2: x, y1: py(one[state.y] - reach), y2: py(one[state.y] + reach), "stroke-opacity": 0.4 }));
        point.append(mark(shape, x, y));
        picture.append(point);
      }
      return picture;
    }

    function ink(colour) {  // black is seen on a dark ground too
      return colour === "#000000" ? "currentColor" : colour;
    }

    function svgOf(shape, colour) {
      const picture = svg("svg", { viewBox: "0 0 16 16", fill: ink(colour), "aria-hidden": "true" });
      picture.append(shape);
      return picture;
    }

    function mark(shape, x, y) {
      const points = { s: "-4,-4 4,-4 4,4 -4,4", D: "0,-5.5 5.5,0 0,5.5 -5.5,0", "^": "0,-5.5 5,4.5 -5,4.5", v: "0,5.5 5,-4.5 -5,-4.5", P: "-2,-6 2,-6 2,-2 6,-2 6,2 2,2 2,6 -2,6 -2,2 -6,2 -6,-2 -2,-2", X: "0,-2.5 3.5,-6 6,-3.5 2.5,0 6,3.5 3.5,6 0,2.5 -3.5,6 -6,3.5 -2.5,0 -6,-3.5 -3.5,-6", "*": "0,-7 2,-2 7,-2 3,1.5 4.5,7 0,3.5 -4.5,7 -3,1.5 -7,-2 -2,-2" }[shape];
      if (!points) return svg("circle", { cx: x, cy: y, r: 4.5 });
      return svg("polygon", { points: points.split(" ").map((pair) => pair.split(",").map((number, place) => Number(number) + (place ? y : x)).join()).join(" ") });
    }

    function table(groups) {
      const columns = COLUMNS;
      const down = state.down === "1" ? -1 : 1;
      const order = [...groups].sort((a, b) => {
        const [left, right] = [a[state.sort], b[state.sort]];
        if (left === null || right === null) return (left === null) - (right === null);
        return (left > right ? 1 : left < right ? -1 : 0) * down;
      });
      const head = el("tr", {}, ...columns.map((name) => {
        const sorted = state.sort === name ? (down < 0 ? "descending" : "ascending") : "none";
        const button = el("button", { type: "button", onclick: () => {
          state.down = state.sort === name && state.down === "1" ? "0" : "1";
          set("sort", name);
        } }, { name: "network" }[name] || HEADS[name] || name);
        return el("th", { scope: "col", "aria-sort": sorted, className: ["name", "scene", "split"].includes(name) ? "hsi-text" : "" }, button);
      }));
      const accuracy = (one, name) => `${fixed(one[name])}${one[`${name} sd`] ? ` ± ${fixed(one[`${name} sd`])}` : ""}`;
      const cell = (one, name) => {
        if (["name", "scene", "split", "seeds"].includes(name)) return String(one[name]);
        if (one[name] === null) return "–";
        return ["oa", "aa30", "aa", "kappa", "f1"].includes(name) ? accuracy(one, name) : one[name] >= 100 ? fixed(one[name], 0) : String(Number(one[name].toPrecision(3)));
      };
      const body = order.map((one) => el("tr", {}, ...columns.map((name) => el("td", { className: ["name", "scene", "split"].includes(name) ? "hsi-text" : "" }, cell(one, name)))));
      return el("table", { className: "hsi-table" }, el("thead", {}, head), el("tbody", {}, ...body));
    }

    function save() {
      const inert = (text) => (/^[=+@\t-]/.test(text) ? `'${text}` : text);  // no formula of a spreadsheet
      const quote = (text) => (/[",\n]/.test(text) ? `"${String(text).replace(/"/g, '""')}"` : text);
      const lines = [[...words, ...numbers].join()];
      for (const row of rows) lines.push([...words.map((name) => quote(inert(word(name, row)))), ...numbers.map((name) => data.numbers[name][row] ?? "")].join());
      const link = el("a", { href: URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" })), download: "hsilib-runs.csv" });
      link.click();
      URL.revokeObjectURL(link.href);
    }
    draw();
  }

  // ---- maps ----------------------------------------------------------------------------------------------

  function maps(box, data) {
    const colours = data.colours, code = new Map(colours.map(([r, g, b], place) => [(r << 16) | (g << 8) | b, place]));
    const inputs = { scene: select(data.scenes.map((one, place) => [String(place), one.name]), "0", open) };
    const canvas = el("canvas", { className: "hsi-canvas", role: "img", tabindex: 0 });
    const slider = el("input", { type: "range", min: 0, max: 100, value: 50, oninput: paint, "aria-label": "how far the left map reaches" });
    const errors = el("input", { type: "checkbox", onchange: paint });
    const ask = "Point at a pixel, or move with the arrow keys.";
    const readout = el("p", { className: "hsi-readout", "aria-live": "polite" }, ask);
    const curve = el("div", { className: "hsi-plot hsi-curve" }), bars = el("div", { className: "hsi-scroll" });
    const sides = el("div", { className: "hsi-form" });
    let scene, layers, spot = null;
    box.append(el("form", { className: "hsi-form", onsubmit: (event) => event.preventDefault() }, field("scene", inputs.scene), sides,
      el("label", { className: "hsi-field hsi-check" }, errors, el("span", {}, "only wrong test pixels"))), canvas, slider, readout, curve, bars);

    function labels(png) {
      return new Promise((done) => {
        const image = new Image();
        image.onload = () => {
          const sheet = el("canvas", { width: scene.width, height: scene.height });
          const pen = sheet.getContext("2d", { willReadFrequently: true });
          pen.drawImage(image, 0, 0);
          const pixels = pen.getImageData(0, 0, scene.width, scene.height).data;
          const found = new Uint8Array(scene.width * scene.height);
          for (let place = 0; place < found.length; place++) found[place] = code.get((pixels[4 * place] << 16) | (pixels[4 * place + 1] << 8) | pixels[4 * place + 2]) || 0;
          done(found);
        };
        image.src = `data:image/png;base64,${png}`;
      });
    }

    async function open() {
      scene = data.scenes[Number(inputs.scene.value)];
      const choices = [["truth", "ground truth"], ...scene.networks.map((one, place) => [String(place), `${one.name}, OA ${fixed(one.oa)}, AA30 ${one.aa30 === null ? "–" : fixed(one.aa30)}, AA ${fixed(one.aa)} %`])];
      inputs.left = select(choices, choices[Math.min(1, choices.length - 1)][0], load);
      inputs.right = select(choices, choices[choices.length - 1][0], load);
      sides.replaceChildren(field("left", inputs.left), field("right", inputs.right));
      spot = null;
      readout.textContent = ask;
      curve.replaceChildren();
      const [truth, test] = await Promise.all([labels(scene.truth), labels(scene.test)]);
      layers = { truth, test };
      await load();
    }

    async function load() {
      const get = (side) => (inputs[side].value === "truth" ? layers.truth : labels(scene.networks[Number(inputs[side].value)].map));
      [layers.left, layers.right] = await Promise.all([get("left"), get("right")]);
      if (spot) point(...spot);
      else paint();
      table();
    }

    function paint() {
      if (!layers || !layers.left) return;
      const { width, height } = scene, edge = Math.round((width * slider.value) / 100);
      canvas.width = width;
      canvas.height = height;
      const pen = canvas.getContext("2d"), picture = pen.createImageData(width, height);
      let wrong = { left: 0, right: 0 };
      for (let place = 0; place < width * height; place++) {
        const side = place % width < edge ? "left" : "right", label = layers[side][place];
        let colour = colours[label];
        const tested = layers.test[place];
        for (const name of ["left", "right"]) if (tested && layers[name][place] !== tested) wrong[name]++;
        if (errors.checked) colour = tested && label !== tested ? colour : tested ? [215, 215, 215] : [255, 255, 255];
        picture.data.set([...colour, 255], 4 * place);
      }
      pen.putImageData(picture, 0, 0);
      pen.fillStyle = "#000";
      if (edge > 0 && edge < width) pen.fillRect(edge, 0, 1, height);
      if (spot) {
        pen.strokeStyle = "#000";
        pen.strokeRect(spot[1] - 2.5, spot[0] - 2.5, 6, 6);
      }
      canvas.setAttribute("aria-label", `Map of ${scene.name}: ${wrong.left} test pixels wrong on the left, ${wrong.right} on the right`);
      box.dataset.wrong = JSON.stringify(wrong);
    }

    const called = (label) => (label ? scene.classes[label - 1] : "unlabelled");
    function point(row, column) {
      if (row < 0 || column < 0 || row >= scene.height || column >= scene.width) return;
      spot = [row, column];
      const place = row * scene.width + column, truth = layers.truth[place];
      readout.textContent = `Row ${row + 1}, column ${column + 1}: ${called(truth)}; left says ${called(layers.left[place])}, right says ${called(layers.right[place])}.`;
      spectrum([truth, layers.left[place], layers.right[place]]);
      paint();
    }

    function spectrum(shown) {
      const width = 720, height = 170, x = (place) => 40 + ((scene.along[place] - scene.along[0]) / (scene.along.at(-1) - scene.along[0])) * (width - 50);
      const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Mean spectra of ${[...new Set(shown.filter(Boolean))].map(called).join(", ")}` });
      [...new Set(shown.filter(Boolean))].forEach((label, place) => {
        const values = scene.spectra[label - 1];
        picture.append(svg("polyline", { points: values.map((value, band) => `${x(band)},${height - 30 - value * (height - 45)}`).join(" "), fill: "none", stroke: `rgb(${colours[label]})`, "stroke-width": 2.5, "stroke-dasharray": ["", "6 3", "2 3"][place] }),
          svg("text", { x: 50 + 200 * place, y: 12 }, `${["—", "– –", "···"][place]} ${called(label)}`));
      });
      picture.append(svg("text", { x: width / 2, y: height - 6, "text-anchor": "middle" }, `mean spectrum of the class, along ${scene.unit === "nm" ? "wavelength, nm" : "bands"} ${scene.along[0]} to ${scene.along.at(-1)}`));
      curve.replaceChildren(picture);
    }

    function table() {
      const network = (side) => (inputs[side].value === "truth" ? null : scene.networks[Number(inputs[side].value)]);
      const [left, right] = [network("left"), network("right")];
      const bar = (one, place) => {
        const share = one ? one.recall[place] : 100;
        return el("td", {}, share === null ? "–" : el("span", { className: "hsi-bar", style: `--share: ${share}%` }, one ? fixed(share, 0) : "–"));
      };
      const swatch = (place) => el("span", { className: "hsi-swatch", style: `background: rgb(${colours[place + 1]})` });
      const body = scene.classes.map((name, place) => el("tr", {}, el("td", { className: "hsi-text" }, swatch(place), " ", name), bar(left, place), bar(right, place)));
      const head = el("tr", {}, ...["class", "left, % found", "right, % found"].map((text, place) => el("th", { scope: "col", className: place ? "" : "hsi-text" }, text)));
      bars.replaceChildren(el("table", { className: "hsi-table hsi-bars" }, el("thead", {}, head), el("tbody", {}, ...body)));
    }

    for (const name of ["pointermove", "pointerdown"]) canvas.addEventListener(name, (event) => {
      const frame = canvas.getBoundingClientRect();
      point(Math.floor(((event.clientY - frame.top) / frame.height) * scene.height), Math.floor(((event.clientX - frame.left) / frame.width) * scene.width));
    });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      const [row, column] = spot || [Math.floor(scene.height / 2), Math.floor(scene.width / 2)];
      point(row + step[0], column + step[1]);
    });
    open();
  }
})();
