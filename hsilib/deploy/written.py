"""The plan of a stream as C99: tables, kernels, a function for each layer that begins a step, a header."""

import json
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from hsilib.deploy.contract import APART, NARROW
from hsilib.deploy.stages import Layer, NoStages, Part
from hsilib.deploy.stream import HEAD, STACK, TYPES, Plan

C = Path(__file__).with_name("c")
ENVI = {"uint8_t": 1, "int16_t": 2, "uint16_t": 12}
WHERE = {"before": 4, "inside": 8, "behind": 4}  # of the loop over cells, and how far a line is moved in
# of layers.c, by the names and places that it says
FRAGMENTS = dict(part.split("\n", 1) for part in (C / "layers.c").read_text("utf-8").split("//// ")[1:])
LETTERS = {"int8": "weights", "int32": "times", "int64": "plus", "uint8": "edge"}


class Writer:
    """It writes a plan as C."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.tables, self.steps = plan, {}, []  # tables: (type, numbers ...) -> name
        self.parts = [part for layer in plan.layers for part in layer.parts]

    def table(self, values: np.ndarray) -> str:
        """Add constants once, and return their name."""
        kind = values.dtype.name
        return self.tables.setdefault((kind, *values.flat), f"{LETTERS[kind]}{len(self.tables)}")

    @property
    def constants(self) -> int:
        """The bytes of all tables."""
        return sum(np.dtype(kind).itemsize * len(numbers) for kind, *numbers in self.tables)

    def weights(self, layer: Layer) -> str:
        """Add the weights of a layer in the order in which they are read, and return their name."""
        if layer.depth:
            return self.table(layer.weight[:, 0].transpose(1, 2, 0))
        rows = layer.weight.transpose(2, 0, 3, 1)  # row of the kernel, output, column, input
        rows = rows.reshape(-1, rows.shape[2] * rows.shape[3])
        return self.table(np.pad(rows, ((0, 0), (0, wide(rows.shape[1]) - rows.shape[1]))))

    def write(self, fragment: str, layer: Layer, part: Part | None = None, **words: Any) -> None:
        """Add a fragment about what a layer takes, or about a part made of it; arrays become tables."""
        words |= {key: self.table(some) for key, some in words.items() if isinstance(some, np.ndarray)}
        cells, i = layer.channels if part else layer.size * layer.taken, self.plan.layers.index(layer)
        own = {key: getattr(layer, key) for key in ("channels", "taken", "size", "apart")}
        own |= {"i": i, "x": f"x{i}", "sums": f"sums{i}"}
        own |= {"count": wide(cells), "zero": " = {0}" if wide(cells) > cells else ""}
        if part:
            own |= {"p": self.parts.index(part), "to": f"y{self.parts.index(part)}"}
        else:
            own["weights"] = self.weights(layer)
        own |= words
        for where in WHERE:
            self.text[where] += Template(FRAGMENTS.get(f"{fragment} {where}", "")).substitute(own)

    def step(self, layer: Layer) -> None:
        """Write the function of a layer that begins a step, and of all that follows in the same cells."""
        self.text = dict.fromkeys(WHERE, "")
        low, high = layer.columns
        if layer is self.plan.raw:
            self.write("spectra", layer, kind=self.plan.kind, middle=TYPES[self.plan.kind][2])
        elif layer.size > 1:
            self.write("rows", layer, rows=self.rows(layer, low, layer.size, layer.apart))
            self.write("depth" if layer.depth else "taps", layer)
        else:
            self.beside(layer, low)
        self.follow(layer)
        words = {where: textwrap.indent(self.text[where], " " * by) for where, by in WHERE.items()}
        self.steps.append(filled("step.c", "", i=len(self.steps), margin=high - low, **words))

    def rows(self, layer: Layer, low: int, count: int, apart: int) -> str:
        """Return C for the rows of a ring that a layer takes, the oldest first."""
        ring = layer.given.parts[0].ring
        return ",\n    ".join(ring.row(age * apart, low) for age in reversed(range(count)))

    def beside(self, layer: Layer, low: int) -> None:
        """Write a layer of one pixel, which takes what lies beside each other."""
        self.write("beside", layer)
        i, at = self.plan.layers.index(layer), 0
        for part in layer.given.parts:
            words, one = {"to": f"x{i} + {at}", "count": wide(layer.taken)}, part.layer
            if part.size < 3:
                words |= dict(row=part.ring.row(0, low), stride=part.ring.channels)
                self.write("from", one, part, **words)
            else:  # a layer made anew in each row and column of the pool behind it
                if part is one.parts[0]:
                    self.write("rows", one, rows=self.rows(one, low, one.size + part.size - 1, part.apart))
                    how = dict(pool=part.size, ahead=part.reach, columns=4 + part.reach, pooled=part.apart)
                    self.write("look" if one.depth else "mix", one, bias=one.bias.astype(np.int32), **how)
                self.fit(part, sums=part.pool, **words)
            at += part.channels
        self.write("product", layer)

    def fit(self, part: Part, **words: Any) -> None:
        """Write how sums become bytes: multipliers, what is added, and the shift."""
        times, plus, shift = part.multipliers()
        if shift < 31:  # shifted sums would not be of 32 bits
            raise NoStages("a grid that is finer than its sums")
        if part.layer is self.plan.raw:  # its values are taken from the middle of their type
            plus += TYPES[self.plan.kind][2] * part.layer.weight.sum((1, 2, 3), dtype=np.int64) * times
        self.write("fit", part.layer, part, times=times, plus=plus, shift=shift, **words)

    def follow(self, layer: Layer) -> None:
        """Write what becomes of the sums of a layer."""
        plan = self.plan
        if layer is plan.top:
            times = np.rint(layer.step / layer.step.max() * (2**31 - 1)).astype(np.int32)
            self.write("choose", layer, plus=times * np.rint(layer.bias).astype(np.int64), times=times)
        for part in (part for part in layer.parts if part.size < 3):
            self.write("part", layer, part)
            self.fit(part)
            if layer is plan.raw and plan.margin:
                self.write("outside", layer, part, edge=part.edge)
            if part.grid.passes:
                self.write("product", part.grid.takers[0], x=f"y{self.parts.index(part)}")
                self.follow(part.grid.takers[0])
                continue
            row = part.ring.row(part.last - part.grid.last, part.columns[0], part)
            words = dict(row=row, stride=part.ring.channels)
            if part.size == 1:
                self.write("keep", layer, part, **words)
            else:
                words |= dict(edge=part.edge, above=part.above.row(0, part.above.low))
                self.write("largest", layer, part, **words)

    def code(self, name: str, model: str, asked: dict[str, Any]) -> str:
        """Return the whole file; ``asked``: what its network learnt of a scene."""
        plan = self.plan
        for layer in plan.layers:
            if layer is plan.raw or not layer.looked and not layer.given.passes:
                self.step(layer)
        fills = [
            f"    fill(s->rows + {ring.fixed} + {ring.each} * width, {self.table(ring.edge)}, "
            f"{ring.rows} * (width + {ring.margin}), {ring.channels});\n" for ring in plan.kept
        ]
        calls = [f"    step_{number}(&l);\n" for number in range(len(self.steps))]
        calls[-1] = f"    if (ready)\n    {calls[-1]}"
        tables = [
            f"static const {kind}_t {table}[{len(numbers)}] = {{\n{listed(numbers)}}};"
            for (kind, *numbers), table in self.tables.items()
        ]
        words = learnt(plan, asked) | dict(
            tables="\n".join(tables), kernels=kernels("".join(self.steps + fills)), model=model,
            steps="\n".join(self.steps), calls="".join(calls), fills="".join(fills), rows=plan.fixed - HEAD,
        )
        return filled("stream.c", name, **words) + filled("waves.c", name, **words) * bool(words["waves"])


def header(name: str, plan: Plan, classes: Sequence[str], model: str, asked: dict, about: dict) -> str:
    """Return the header of a stream; ``asked``: what it learnt of a scene, ``about``: what was measured."""
    behind, words = f"{plan.lag} lines", learnt(plan, asked)
    words |= dict(
        names=", ".join(json.dumps(word, ensure_ascii=False) for word in classes), classes=plan.top.channels,
        state145=plan.state_bytes(145), state64=plan.state_bytes(64), step=f"{plan.top.step.max():.9g}",
        later=f"{behind} later" if plan.lag else "at once", back=f"{behind} back" if plan.lag else "given",
        rest=f"those of the last {behind}" if plan.lag else "never, for none come later",
        unknown="" if words["waves"] else " Wavelengths are not known to it.", envi=ENVI[plan.kind],
        also=filled("waves.h", name, **words) if words["waves"] else "", model=model,
        ram=plan.state_bytes(about["strip"] + plan.margin + plan.lag) + (about["stack"] or STACK),
    )
    about = {key: value or "not measured" for key, value in about.items()}
    return filled("stream.h", name, **words | about)


def learnt(plan: Plan, asked: dict[str, Any]) -> dict[str, Any]:
    """Return what files of a stream say of it and of the scene that its network learnt."""
    low, high = (round(asked[end] * plan.gain) for end in ("low", "high"))
    words = dict(low=low, high=high, below=2 * low - high, above=2 * high - low, apart=APART, part=NARROW)
    words |= dict(narrow=max(round((high - low) / NARROW), 1), number="int32_t")
    mean = ", ".join(map(str, plan.raw_values(np.asarray(asked["mean"])).tolist()))
    waves = listed(map(round, asked["wavelengths"])) if "wavelengths" in asked else ""
    return vars(plan) | words | dict(mean=mean, waves=waves)


def kernels(code: str) -> str:
    """Return the kernels that some code calls, and those that they call."""
    kept = ""
    for kernel in reversed((C / "kernels.c").read_text("utf-8").strip().split("\n\n")):
        if re.search(r"inline void (\w+)", kernel)[1] + "(" in kept + code:
            kept = f"{kernel}\n\n{kept}"
    return kept.strip()


def wide(count: int) -> int:
    """Return how many numbers a product takes of so many: zeros are added until four divide them."""
    return -(-count // 4) * 4


def filled(template: str, name: str, **words: Any) -> str:
    """Return a file of C from its template; NAME is the name in capitals."""
    return Template((C / template).read_text("utf-8")).substitute(name=name, NAME=name.upper(), **words)


def listed(values: Iterable[int]) -> str:
    """Return numbers as C initialises an array, in lines of a file."""
    lines = textwrap.wrap(", ".join(map(str, values)) + ",", 106)
    return "".join(f"    {line}\n" for line in lines)
