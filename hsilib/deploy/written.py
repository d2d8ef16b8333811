"""The plan of a stream as C99: tables, kernels, a function for each layer that begins a step, a header."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from hsilib.deploy.contract import APART, NARROW
from hsilib.deploy.stages import NoStages, Sums
from hsilib.deploy.stream import HEAD, STACK, TYPES, Plan

C = Path(__file__).with_name("c")
KERNELS = C / "kernels.c"
ENVI = {"uint8_t": 1, "int16_t": 2, "uint16_t": 12}
LETTERS = {"int8": "weights", "int32": "times", "int64": "plus", "uint8": "edge"}


def wide(count: int) -> int:
    """Return how many numbers a product takes of so many: zeros are added until four divide them."""
    return -(-count // 4) * 4


class Writer:
    """It writes a plan as C."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.tables, self.names, self.flash = plan, [], {}, 0
        self.steps = []

    # -------------------------------------------------------------- tables

    def table(self, kind: str, values: np.ndarray) -> str:
        """Add constants once, and return their name."""
        values = np.asarray(values).ravel()
        key = kind, tuple(values.tolist())
        if key not in self.names:
            self.names[key] = name = f"{LETTERS[kind]}{len(self.names)}"
            numbers = listed(values.tolist())
            self.tables.append(f"static const {kind}_t {name}[{len(values)}] = {{\n{numbers}}};")
            self.flash += len(values) * int(re.search(r"\d+", kind)[0]) // 8
        return self.names[key]

    def fitted(self, given, part):
        """The words of a ``fit``: multipliers, what is added, and the shift."""
        times, plus, shift = given.multipliers(part)
        if shift < 31:  # shifted sums would not be of 32 bits
            raise NoStages("a grid that is finer than its sums")
        if part.sums is self.plan.raw:
            plus = plus + times * self.middle()
        return self.table("int32", times), self.table("int64", plus), shift

    def middle(self):
        """What is missing from sums of raw values that are taken from the middle of their type."""
        return TYPES[self.plan.kind][2] * self.plan.raw.weight.sum((1, 2, 3), dtype=np.int64)

    # -------------------------------------------------------------- steps

    def step(self, layer: Sums, outside: bool = False) -> None:
        """Write the function of a layer that begins a step, and of all that follows in the same cells;
        ``outside``: of a line outside of the scene, where each layer's cells are known."""
        plan, (low, high) = self.plan, self.plan.computed[layer]
        self.before, self.inside, self.behind, self.count = [], [], [], 0
        self.outside, given = outside, layer.given
        raw = given is None and not outside
        if outside:
            sums = ""
        elif raw:
            sums = self.from_spectra(layer)
        elif layer.depth:
            self.rows(layer, [(layer.size - 1 - i) * layer.apart for i in range(layer.size)], low)
            sums = self.sums(layer, zero=False)
            words = f"{sums} + k * {layer.channels}, {layer.size}, {layer.apart}, {layer.channels}"
            at, weight = f"(j + k) * {layer.channels}", self.weights(layer)
            self.inside += ["for (size_t k = 0; k < 4; k++)", f"    depth(row, {at}, {weight}, {words});"]
        elif (given, given.parts[0]) in plan.rings and layer.size > 1:
            sums = self.spread(layer, low)
        else:
            sums = self.beside(layer, low)
        self.follow(layer, sums)
        words = "struct state *s" + f", const {plan.kind} *spectra" * raw
        ends = any("classes" in line for line in self.inside)
        words += ", uint8_t *classes, int32_t *scores" * ends
        name = "outside" if outside else f"step_{len(self.steps)}"
        margin = f" + {high - low}" if high > low else ""
        body = [f"const size_t cells = s->width{margin};", *self.before]
        body += ["for (size_t j = 0; j < cells; j += 4) {"]
        if any(re.search(r"\bn\b", line) for line in self.inside):
            body += ["    const size_t n = cells - j < 4 ? cells - j : 4;"]
        body += [*("    " + line for line in self.inside), "}", *self.behind]
        text = "\n".join("    " + line for line in body)
        self.steps.append((ends, name, f"static void {name}({words})\n{{\n{text}\n}}"))

    def sums(self, layer, zero=True):
        """Declare the sums of four cells."""
        self.count += 1
        name = f"sums{self.count}"
        self.inside.append(f"int32_t {name}[{4 * layer.channels}]{' = {0}' if zero else ''};")
        return name

    def cells(self, channels):
        """Declare the bytes of four cells, as products take them."""
        self.count += 1
        name, size = f"x{self.count}", wide(channels)
        self.inside.append(f"int16_t {name}[{4 * size}]{' = {0}' if size > channels else ''};")
        return name

    def weights(self, layer):
        """The weights of a layer in the order in which they are read."""
        if layer.depth:
            return self.table("int8", layer.weight[:, 0].transpose(1, 2, 0))
        rows = layer.weight.transpose(2, 0, 3, 1)  # row of the kernel, output, column, input
        rows = rows.reshape(-1, rows.shape[2] * rows.shape[3])
        return self.table("int8", np.pad(rows, ((0, 0), (0, wide(rows.shape[1]) - rows.shape[1]))))

    def rows(self, layer, ages, low):
        """Declare pointers to the rows of a ring, the oldest first."""
        ring = self.plan.rings[layer.given, layer.given.parts[0]]
        places = ",\n        ".join(ring.row(age, low) for age in ages)
        self.before.append(f"const uint8_t *const row[{len(ages)}] = {{\n        {places}}};")

    def from_spectra(self, layer):
        bands, middle = self.plan.bands, TYPES[self.plan.kind][2]
        x, sums = self.cells(bands), self.sums(layer)
        value = f"from[b] - {middle}" if middle else "from[b]"
        self.inside += [
            "for (size_t k = 0; k < 4; k++) {",
            f"    const {self.plan.kind} *from = spectra + (k < n ? j + k : j) * {bands};",
            f"    for (size_t b = 0; b < {bands}; b++)",
            f"        {x}[k * {wide(bands)} + b] = (int16_t)({value});", "}",
            f"product({x}, {self.weights(layer)}, {sums}, {wide(bands)}, {layer.channels});",
        ]
        return sums

    def spread(self, layer, low):
        """A convolution: the taps of each row of its kernel make one product."""
        channels, size = layer.given.channels, layer.size
        self.rows(layer, [(size - 1 - i) * layer.apart for i in range(size)], low)
        sums, x, count = self.sums(layer), self.cells(size * channels), wide(size * channels)
        weight = f"{self.weights(layer)} + k * {layer.channels * count}"
        self.inside += [
            f"for (size_t k = 0; k < {size}; k++) {{",
            f"    gather(row[k] + j * {channels}, {x}, {size}, {layer.apart}, {channels}, {count});",
            f"    product({x}, {weight}, {sums}, {count}, {layer.channels});", "}",
        ]
        return sums

    def beside(self, layer, low):
        """A layer of one pixel that takes what lies beside each other."""
        given, at, plan = layer.given, 0, self.plan
        x, looked = self.cells(given.channels), {}
        for part in given.parts:
            channels, stride = part.sums.channels, wide(given.channels)
            if part.size > 2:
                mean, top = looked.get(part.sums) or looked.setdefault(part.sums, self.look(part, low))
                found = mean if part.pool == "mean" else top
                times, plus, shift = self.fitted(given, part)
                words = f"{x} + {at}, {shift}, {channels}, {stride}"
                self.inside.append(f"fit({found}, {times}, {plus}, {words});")
            else:
                ring, name = plan.rings[given, part], f"from{at}"
                self.before.append(f"const uint8_t *const {name} = {ring.row(0, low)};")
                words = f"{x} + {at}, 1, 1, {channels}, {stride}"
                self.inside.append(f"gather({name} + j * {ring.channels}, {words});")
            at += channels
        sums = self.sums(layer)
        words = f"{self.weights(layer)}, {sums}, {wide(given.channels)}, {layer.channels}"
        self.inside.append(f"product({x}, {words});")
        return sums

    def look(self, part, low):
        """A depthwise layer made anew in each row and column of the pool behind it."""
        layer, pool, channels = part.sums, part.size, part.sums.channels
        rows = pool + layer.size - 1
        self.rows(layer, [(rows - 1 - i) * layer.apart for i in range(rows)], low)
        bias, weight = self.table("int32", layer.bias.astype(np.int64)), self.weights(layer)
        words = f"{layer.size}, {layer.apart}, {channels}, {pool}"
        words = f"total + k * {channels}, most + k * {channels}, {words}"
        self.before += [
            f"int32_t total[{8 * channels}], most[{8 * channels}];",
            "for (size_t k = 0; k < 4; k++)",
            f"    column(row, k * {channels}, {weight}, {bias}, {words});",
        ]
        self.inside += [
            f"int32_t mean[{4 * channels}], top[{4 * channels}];",
            "for (size_t k = 4; k < 8; k++)",
            f"    column(row, (j + k) * {channels}, {weight}, {bias}, {words});",
            f"join(total, most, mean, top, {layer.apart}, {channels}, {pool});",
        ]
        return "mean", "top"

    def after(self, given, x):
        """The sums of the one layer that takes bytes straight."""
        (taker,) = given.takers
        if self.outside:
            return ""
        sums = self.sums(taker)
        words = f"{self.weights(taker)}, {sums}, {wide(given.channels)}, {taker.channels}"
        self.inside.append(f"product({x}, {words});")
        return sums

    def follow(self, layer, sums):
        """Write what becomes of the sums of a layer."""
        plan = self.plan
        if layer is plan.top:
            step = layer.step / layer.step.max()
            times = np.rint(step * (2**31 - 1)).astype(np.int64)
            plus = [int(t) * int(b) for t, b in zip(times, np.rint(layer.bias).astype(np.int64))]
            words = f"{self.table('int32', times)}, {self.table('int64', plus)}"
            self.inside += [
                f"int32_t *const told = scores ? scores + j * {layer.channels} : scores;",
                f"choose({sums}, {words}, classes + j, told, n, {layer.channels});",
            ]
        for given in dict.fromkeys(layer.taken):
            for part in given.parts:
                if part.sums is not layer or part.size > 2:
                    continue
                channels, x, step = layer.channels, self.cells(layer.channels), wide(layer.channels)
                times, plus, shift = self.fitted(given, part)
                if self.outside:
                    cell = self.table("uint8", plan.edge(given, part))
                    self.inside.append(f"same({cell}, {x}, {channels}, {step});")
                else:
                    words = f"{times}, {plus}, {x}, {shift}, {channels}, {step}"
                    self.inside.append(f"fit({sums}, {words});")
                if plan.passes(given):
                    self.follow(given.takers[0], self.after(given, x))
                    continue
                place, stride = plan.written(given, part)
                self.before.append(f"uint8_t *const to_{x} = {place};")
                if part.size == 1:
                    self.inside.append(f"keep({x}, to_{x} + j * {stride}, n, {channels}, {step}, {stride});")
                    continue
                above = plan.rings[given, part, "above"]
                edge = self.table("uint8", above.edge)
                self.before += [
                    f"uint8_t *const above_{x} = {above.row(0, above.low)};",
                    f"uint8_t last_{x}[{channels}];",
                    f"fill(last_{x}, {edge}, 1, {channels}, {channels});",
                ]
                words = f"above_{x} + j * {channels}, last_{x}, to_{x} + j * {stride}"
                self.inside.append(f"largest({x}, {words}, n, {channels}, {step}, {stride});")
                self.behind.append(f"larger(last_{x}, {edge}, to_{x} + cells * {stride}, {channels});")

    # -------------------------------------------------------------- the file

    def code(self, name: str, model: str, asked: dict[str, Any]) -> str:
        """Return the whole file; ``asked``: what its network learnt of a scene."""
        plan = self.plan
        for layer in plan.layers:
            if not self.inner(layer):
                self.step(layer)
        first, *more = self.steps
        calls = [f"    if (ready)\n        {step}(s, classes, scores);" if ends else f"    {step}(s);"
                 for ends, step, _ in more]
        fills = []
        for ring in dict.fromkeys(plan.rings.values()):
            words = f"({ring.rows} * (width + {ring.high - ring.low})), {ring.channels}, {ring.channels}"
            place = f"s->rows + {ring.fixed} + {ring.each} * width"
            fills.append(f"    fill({place}, {self.table('uint8', ring.edge)}, {words});")
        if plan.rings:  # what is read behind the last cell, and not used
            place = f"s->rows + {plan.fixed - plan.slack - HEAD} + {plan.each} * width"
            edge = self.table("uint8", next(iter(plan.rings.values())).edge)
            fills.append(f"    fill({place}, {edge}, {plan.slack}, 1, 1);")
        low, high = (round(asked[end] * plan.gain) for end in ("low", "high"))
        if plan.rings:
            self.step(plan.raw, outside=True)
        steps = "\n\n".join(text for *_, text in self.steps)
        words = dict(
            tables="\n".join(self.tables), kernels=kernels(steps + "".join(fills)), steps=steps,
            calls="\n".join(calls),
            fills="\n".join(fills), outside="outside(s)" if plan.rings else "(void)s",
            first=f"{first[1]}(s, spectra{'' if more else ', classes, scores'})",
            kind=plan.kind, lag=plan.lag, period=plan.period, bands=plan.bands,
            below=2 * low - high, above=2 * high - low, narrow=max(round((high - low) / NARROW), 1),
            waves="",
        )
        if asked.get("wavelengths"):
            waves = listed(map(round, asked["wavelengths"]))
            words["waves"] = filled("waves.c", name, bands=plan.bands, apart=APART, waves=waves)
        return filled("stream.c", name, model=model, **words)

    def inner(self, layer):
        """Whether a layer follows another in the same cells, or is made anew by what pools it."""
        return self.plan.looked(layer) or layer.given is not None and self.plan.passes(layer.given)


def kernels(code: str) -> str:
    """Return the kernels that some code calls, and those that they call."""
    kept = ""
    for kernel in reversed(KERNELS.read_text().strip().split("\n\n")):
        if re.search(r"inline void (\w+)", kernel)[1] + "(" in kept + code:
            kept = f"{kernel}\n\n{kept}"
    return kept.strip()


def header(name: str, plan: Plan, classes: Sequence[str], model: str, asked: dict, about: dict) -> str:
    """Return the header of a stream; ``asked``: what it learnt of a scene, ``about``: what was measured."""
    halo = plan.margin + plan.lag
    low, high = (round(asked[end] * plan.gain) for end in ("low", "high"))
    waves = f"/* The same of wavelengths: 3 if a band lies over {APART} nm from where it was learnt. */\n"
    waves += f"int {name}_refuses_waves(int32_t bands, const int32_t nm[]);\n"
    behind = f"{plan.lag} lines"
    names = ", ".join('"' + re.sub(r'(["\\\\])', r"\\\1", c) + '"' for c in classes)
    return filled(
        "stream.h", name, model=model, kind=plan.kind, gain=plan.gain, low=low, high=high, names=names,
        envi=ENVI[plan.kind], lag=plan.lag, margin=plan.margin, fixed=plan.fixed, each=plan.each,
        bands=plan.bands, classes=plan.top.channels, wide=plan.state_bytes(145), narrow=plan.state_bytes(64),
        later=f"{behind} later" if plan.lag else "at once", back=f"{behind} back" if plan.lag else "given",
        rest=f"those of the last {behind}" if plan.lag else "never, for none come later", part=NARROW,
        unknown="" if asked.get("wavelengths") else " Wavelengths are not known to it.",
        waves=waves if asked.get("wavelengths") else "", step=f"{plan.top.step.max():.9g}",
        mean=", ".join(str(round(value)) for value in plan.raw_values(np.asarray(asked["mean"])).tolist()),
        ram=plan.state_bytes(about["strip"] + halo) + (about["stack"] or STACK),
        **{key: value or "not measured" for key, value in about.items()},
    )


def filled(template: str, name: str, **words: Any) -> str:
    """Return a file of C from its template; NAME is the name in capitals."""
    return Template((C / template).read_text()).substitute(name=name, NAME=name.upper(), **words)


def listed(values: Iterable[int]) -> str:
    """Return numbers as C initialises an array, in lines of a file."""
    lines = textwrap.wrap(", ".join(map(str, values)) + ",", 106)
    return "".join(f"    {line}\n" for line in lines)
