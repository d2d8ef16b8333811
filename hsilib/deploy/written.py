"""The plan of a stream, written as C99: tables, kernels, a function for each layer that begins a step, a header."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from hsilib.deploy.contract import APART, NARROW
from hsilib.deploy.stages import Sums
from hsilib.deploy.stream import TYPES, Plan

KERNELS = Path(__file__).with_name("kernels.c")
TOP = """\
/* {model}: a line of raw spectra in, a line of classes out, in whole numbers. C99; it needs no library.
   Written by hsilib; how to call it is said in {name}.h. */
#include "{name}.h"
"""
STATE = """
struct state {{
    uint32_t width, row, seen, flushed;
    uint8_t rows[];
}};

/* The row of a ring that is so many lines old. */
static inline uint8_t *ring(struct state *s, size_t fixed, size_t each, uint32_t rows, size_t margin, size_t channels,
                            int32_t age)
{{
    const uint32_t slot = (s->row + 2 * rows - (uint32_t)age) % rows;
    return s->rows + fixed + each * s->width + slot * (s->width + margin) * channels;
}}
"""
CALLS = """
void {name}_reset(void *state, size_t width)
{{
    struct state *s = state;
    s->width = (uint32_t)width;
    s->row = s->seen = s->flushed = 0;
{fills}}}

{rest}int {name}_line(void *state, const {kind} *spectra, uint8_t *classes)
{{
    struct state *s = state;
{line}}}

int {name}_flush(void *state, uint8_t *classes)
{{
{flush}}}
"""
REST = """\
/* What follows the projection of a line. */
static int rest(struct state *s, uint8_t *classes)
{{
    const int ready = s->seen == {lag};
{steps}    s->row = (s->row + 1) % {period};
    s->seen += !ready;
    return ready;
}}

"""
FLUSH = """\
    struct state *s = state;
    while (s->flushed < {lag}) {{
        s->flushed++;
{edges}        if (rest(s, classes))
            return 1;
    }}
    return 0;
"""


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
            self.names[key] = name = f"{'bwtpe'['int8 int32 int64 uint8'.split().index(kind) + 1]}{len(self.names)}"
            text = ", ".join(map(str, values.tolist()))
            rows = re.sub(r"(.{1,108})(, |$)", r"    \1,\n", text).rstrip(",\n")
            self.tables.append(f"static const {kind}_t {name}[{len(values)}] = {{\n{rows}\n}};")
            self.flash += len(values) * int(re.search(r"\d+", kind)[0]) // 8
        return self.names[key]

    def fitted(self, given, part):
        """The words of a ``fit``: multipliers, what is added, and the shift."""
        times, plus, shift = given.multipliers(part)
        if part.sums is self.plan.raw:
            plus = plus + times * self.middle()
        return self.table("int32", times), self.table("int64", plus), shift

    def middle(self):
        """What is missing from sums of raw values that are taken from the middle of their type."""
        return TYPES[self.plan.kind][2] * self.plan.raw.weight.sum((1, 2, 3), dtype=np.int64)

    # -------------------------------------------------------------- steps

    def step(self, layer: Sums) -> None:
        """Write the function of a layer that begins a step, and of all that follows in the same cells."""
        plan, (low, high) = self.plan, self.plan.computed[layer]
        self.before, self.inside, self.count = [], [], 0
        raw, given = layer.given is None, layer.given
        if raw:
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
        ends = self.text_uses("classes")
        words += ", uint8_t *classes" * ends
        name = f"step_{len(self.steps)}"
        margin = f" + {high - low}" if high > low else ""
        body = [f"const size_t cells = s->width{margin};", *self.before]
        loop = ["for (size_t j = 0; j < cells; j += 4) {", "    const size_t n = cells - j < 4 ? cells - j : 4;"]
        body += [*loop, *("    " + line for line in self.inside), "}"]
        text = "\n".join("    " + line for line in body)
        self.steps.append((layer, name, f"static void {name}({words})\n{{\n{text}\n}}"))

    def text_uses(self, word):
        return any(word in line for line in self.inside)

    def sums(self, layer, zero=True):
        """Declare the sums of four cells."""
        self.count += 1
        name = f"sums{self.count}"
        self.inside.append(f"int32_t {name}[{4 * layer.channels}]{' = {0}' if zero else ''};")
        return name

    def cells(self, channels):
        """Declare the bytes of four cells, as products take them."""
        self.count += 1
        name = f"x{self.count}"
        self.inside.append(f"int16_t {name}[{4 * channels}];")
        return name

    def weights(self, layer):
        """The weights of a layer in the order in which they are read."""
        w = layer.weight
        return self.table("int8", w[:, 0].transpose(1, 2, 0) if layer.depth else w.transpose(2, 0, 3, 1))

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
            f"        {x}[k * {bands} + b] = (int16_t)({value});", "}",
            f"product({x}, {self.weights(layer)}, {sums}, {bands}, {layer.channels});",
        ]
        return sums

    def spread(self, layer, low):
        """A convolution: the taps of each row of its kernel make one product."""
        channels, size = layer.given.channels, layer.size
        self.rows(layer, [(size - 1 - i) * layer.apart for i in range(size)], low)
        sums, x, count = self.sums(layer), self.cells(size * channels), size * channels
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
            channels, stride = part.sums.channels, given.channels
            if part.size > 2:
                mean, top = looked.get(part.sums) or looked.setdefault(part.sums, self.look(part, low))
                found = mean if part.pool == "mean" else top
                times, plus, shift = self.fitted(given, part)
                self.inside.append(f"fit({found}, {times}, {plus}, {x} + {at}, {shift}, {channels}, {stride});")
            else:
                ring, name = plan.rings[given, part], f"from{at}"
                self.before.append(f"const uint8_t *const {name} = {ring.row(0, low)};")
                words = f"{x} + {at}, 1, 1, {channels}, {stride}"
                self.inside.append(f"gather({name} + j * {ring.channels}, {words});")
            at += channels
        sums = self.sums(layer)
        words = f"{self.weights(layer)}, {sums}, {given.channels}, {layer.channels}"
        self.inside.append(f"product({x}, {words});")
        return sums

    def look(self, part, low):
        """A depthwise layer made anew in each row and column of the pool behind it."""
        layer, pool, channels = part.sums, part.size, part.sums.channels
        rows = pool + layer.size - 1
        self.rows(layer, [(rows - 1 - i) * layer.apart for i in range(rows)], low)
        bias, weight = self.table("int32", layer.bias.astype(np.int64)), self.weights(layer)
        words = f"{layer.size}, {layer.apart}, {channels}, {pool}"
        place = f"total + {{0}} * {channels}, most + {{0}} * {channels}, {words});"
        self.before += [
            f"int32_t total[{8 * channels}], most[{8 * channels}];",
            "for (size_t k = 0; k < 4; k++)",
            f"    column(row, k * {channels}, {weight}, {bias}, " + place.format("k"),
        ]
        self.inside += [
            f"int32_t mean[{4 * channels}], top[{4 * channels}];",
            "for (size_t k = 4; k < 8; k++)",
            f"    column(row, (j + k) * {channels}, {weight}, {bias}, " + place.format("k"),
            f"join(total, most, mean, top, {layer.apart}, {channels}, {pool});",
        ]
        return "mean", "top"

    def follow(self, layer, sums):
        """Write what becomes of the sums of a layer."""
        plan = self.plan
        if layer is plan.top:
            step = layer.step / layer.step.max()
            times = np.rint(step * (2**31 - 1)).astype(np.int64)
            plus = [int(t) * int(b) for t, b in zip(times, np.rint(layer.bias).astype(np.int64))]
            words = f"{self.table('int32', times)}, {self.table('int64', plus)}, classes + j, n, {layer.channels}"
            self.inside.append(f"choose({sums}, {words});")
        for given in dict.fromkeys(layer.taken):
            for part in given.parts:
                if part.sums is not layer or part.size > 2:
                    continue
                channels, x = layer.channels, self.cells(layer.channels)
                times, plus, shift = self.fitted(given, part)
                self.inside.append(f"fit({sums}, {times}, {plus}, {x}, {shift}, {channels}, {channels});")
                if plan.passes(given):
                    taker = given.takers[0]
                    after = self.sums(taker)
                    words = f"{self.weights(taker)}, {after}, {channels}, {taker.channels}"
                    self.inside.append(f"product({x}, {words});")
                    self.follow(taker, after)
                    continue
                place, stride = plan.written(given, part)
                self.before.append(f"uint8_t *const to_{x} = {place};")
                if part.size == 1:
                    self.inside.append(f"keep({x}, to_{x} + j * {stride}, n, {channels}, {stride});")
                    continue
                above = plan.rings[given, part, "above"]
                edge = self.table("uint8", above.edge)
                self.before += [
                    f"uint8_t *const above = {above.row(0, above.low)};",
                    f"uint8_t before[{channels}];", f"fill(before, {edge}, 1, {channels}, {channels});",
                ]
                words = f"above + j * {channels}, before, to_{x} + j * {stride}, n, {channels}, {stride}"
                self.inside.append(f"largest({x}, {words});")

    # -------------------------------------------------------------- the file

    def code(self, name: str, model: str) -> str:
        """Return the whole file."""
        plan = self.plan
        begins = [layer for layer in plan.layers if not self.inner(layer)]
        for layer in begins:
            self.step(layer)
        fills = []
        for ring in dict.fromkeys(plan.rings.values()):
            words = f"({ring.rows} * (width + {ring.high - ring.low})), {ring.channels}, {ring.channels}"
            place = f"s->rows + {ring.fixed} + {ring.each} * width"
            fills.append(f"    fill({place}, {self.table('uint8', ring.edge)}, {words});\n")
        if plan.rings:
            fills.append(f"    fill(s->rows + {plan.fixed - plan.slack - 16} + {plan.each} * width, "
                         f"{self.table('uint8', np.zeros(1))}, {plan.slack}, 1, 1);\n")
        first, *more = self.steps
        calls = "".join(
            f"    if (ready)\n        {step}(s, classes);\n" if layer is plan.top else f"    {step}(s);\n"
            for layer, step, _ in more
        )
        rest = REST.format(lag=plan.lag, period=plan.period, steps=calls) if more else ""
        if more:
            line = f"    {first[1]}(s, spectra);\n    return rest(s, classes);\n"
            flush = FLUSH.format(lag=plan.lag, edges="".join(self.edges()))
        else:
            line = f"    {first[1]}(s, spectra, classes);\n    return 1;\n"
            flush = "    (void)state;\n    (void)classes;\n    return 0;\n"
        calls = CALLS.format(name=name, kind=plan.kind, fills="".join(fills), rest=rest, line=line, flush=flush)
        steps = "\n\n".join(text for *_, text in self.steps)
        used = steps + calls
        kernels = [k for k in KERNELS.read_text().split("\n\n") if re.search(r"inline void (\w+)", k)[1] + "(" in used]
        parts = [TOP.format(name=name, model=model), "\n".join(self.tables), "\n\n".join(k.strip() for k in kernels)]
        return "\n".join(parts) + "\n" + STATE.format() + "\n" + steps + "\n" + calls

    def inner(self, layer):
        """Whether a layer follows another in the same cells, or is made anew by what pools it."""
        return self.plan.looked(layer) or layer.given is not None and self.plan.passes(layer.given)

    def edges(self):
        """What a line outside of the scene is, in the rows that the first step writes."""
        layers = [self.plan.raw]
        for layer in layers:
            for given in dict.fromkeys(layer.taken):
                if self.plan.passes(given):
                    layers.append(given.takers[0])
                    continue
                for part in (part for part in given.parts if part.sums is layer):
                    low, high = self.plan.computed[layer]
                    place, stride = self.plan.written(given, part)
                    edge = self.table("uint8", self.plan._of(given, [part]))
                    words = f"s->width + {high - low}, {layer.channels}, {stride}"
                    yield f"        fill({place}, {edge}, {words});\n"
