"""What the parts of the site that one can use know: chooser, explorer of all rows, maps under a swipe.

Each is a box with its data and a plain table in it; ``book/_static/apps.js`` brings it to life, and a page
without scripts shows the table.
"""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from hsibook.figures import FAMILIES, kind
from hsibook.tables import as_html
from hsilib.commands import value
from hsilib.data import registry
from hsilib.data.scenes import entry
from hsilib.deploy.predict import FOLDER
from hsilib.deploy.stream import STACK, costs
from hsilib.deploy.zoo import entries, run_of
from hsilib.errors import HsiError
from hsilib.files import project
from hsilib.methods import METHODS, get, title
from hsilib.models.networks import initialise
from hsilib.study.runs import make_run
from hsilib.study.store import Store

# name and title of a method where a page registers it; of ``method`` the family stands between them
TITLED = re.compile(r'^@(?:hsilib\.)?(method)?\w*\(\s*"(\w+)",(?(1)\s*"\w+",)\s*"([^"\n]+)"', re.M)
RAM = {"ram": 145, "ram64": 64}  # for lines of so many pixels, which are in it
VOTE = 16  # bytes that a vote keeps beside its lines of classes
NO_C = {"ram": None, "ram64": None, "flash": None, "instructions": None}
FILTERS = {"before": "means", "after": "mean scores", "vote": "vote"}  # sizes in pixels
PLAIN = {"int8 True": "int8", "learnt False": "fixed components", "centre 0": "no layer on the centre",
         "augment none": "no flips", "batch_norm False": "no batch norm"}  # options as one says them
NETWORK = ["scene", "split", "method", "ratio", "options", "epochs", "lr", "schedule", "batch"]


def show(kind: str, data: dict, table: pd.DataFrame) -> None:
    """Show one of the parts: its data, and what a page without scripts shows of them."""
    from IPython.display import HTML, display

    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    script = f"<script type='application/json'>{text}</script>"
    shown = f"<div class='hsi-scroll'>{as_html(table)}</div>"
    display(HTML(f"<div class='hsi-app' data-kind='{kind}'>{script}{shown}</div>"))


def options_of(text: str) -> dict:
    """The options of a row, as they were given."""
    return {name: value(word) for name, _, word in (part.partition("=") for part in text.split())}


@lru_cache
def written(folder: Path) -> dict[str, str]:
    """{name: title} of the methods that pages write, which only the kernels of these pages know."""
    found = [TITLED.findall(path.read_text(errors="replace")) for path in sorted(folder.glob("*.md"))]
    return {name: title for page in found for _, name, title in page}


def called(method: str, ratio: int, options: str) -> str:
    """What a network is called: a rounded or filtered one by the network that it was, one of your pages as
    that says.

    >>> called("filtered", 0, "vote=9")
    'Perceptron, vote of 9 × 9'
    """
    if method not in METHODS:
        name = written(project() / "notebooks").get(method, method) + (f" {ratio} %" if ratio else "")
        return f"{name}, {options.replace('=', ' ')}" if options else name
    given, own = options_of(options), get(method).options
    if method == "filtered":
        given = {"of": own["of"]} | given
    of, name = given.pop("of", None), title(method, ratio)
    if of in METHODS:
        name = title(of, ratio if ratio in get(of).ratios else 0)
        name += f", {title(method).lower()}" if method != "filtered" else ""
    for key, word in FILTERS.items():
        size = given.pop(key, own.get(key, 0))
        if size > 1:
            name = name.removesuffix(f", {word}") + f", {word} of {size} × {size}"
    words = (PLAIN.get(f"{key} {value}", f"{key} {value}") for key, value in given.items())
    return name + ", " * bool(given) + " ".join(words)


def usual(rows: pd.DataFrame) -> list[str]:
    """Those of the runs that are of the recipe that their method has by itself, so that one command trains
    them again."""
    found, columns = [], ["run", "scene", "split", "method", "ratio", "seed", "options"]
    place = lru_cache(registry.place)  # which reads files
    for run, scene, *words, options in rows[columns].itertuples(index=False):
        with suppress(HsiError):
            found += [run] if make_run(place(scene), *words, None, options_of(options)).id == run else []
    return found


NOT_EXPORTED = ("rf", "mlr", "svm", "cnn3d", "simkd", "filtered")  # by hsilib export
ABOUT_A_FILE = ["indian_pines_rebuilt", "indian_pines_undamaged"]  # scenes that nobody would deploy on
LEAST = 5  # seeds from which on the chooser offers a network; the explorer has all
PICK = 0, 2, 4  # the seeds that choose a network, the same for all; its others say how good it is


def names(rows: pd.DataFrame) -> pd.Series:
    """What each row's network is called, the same on every page: with its epochs if these are not its own."""
    each = rows.drop_duplicates(NETWORK)
    known, columns = usual(each), ["run", "epochs", "method", "ratio", "options"]
    each = each.assign(name=[called(*words) + ("" if run in known else f", {epochs} epochs")
                             for run, epochs, *words in each[columns].itertuples(index=False)])
    return rows[NETWORK].merge(each[[*NETWORK, "name"]], how="left")["name"].set_axis(rows.index)


@lru_cache
def on_devices() -> dict[tuple, dict[str, int | None]]:
    """{(scene, payload, multiply-adds): what the C of such a network takes}: those that agree in all three
    have the same layers, whatever taught them."""
    cards = {name: json.loads((FOLDER / f"{name}.json").read_text("utf-8")) for name in entries()}
    return {(card["scene"], card["payload"], card["macs"]): on_device(name) for name, card in cards.items()}


def counted() -> dict:
    """What ``make device`` counted."""
    return json.loads((FOLDER.parent / "results" / "device.json").read_text("utf-8"))


def on_device(name: str) -> dict[str, int | None]:
    """What the C of a file to download takes: bytes of flash, of RAM for a line of 145 and of 64 pixels with
    the stack and the line, and instructions a pixel on an emulated Cortex-M4, all as gcc -O2 builds it; None
    without C."""
    card = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    if not (code := card.get("c")):
        return NO_C
    told, line = counted()["networks"].get(name), spectrum(card["scene"])
    found = {key: code["state"][str(width)] + code["stack"] + width * line for key, width in RAM.items()}
    found["flash"] = code["flash"]
    return found | {"instructions": told["cortex-m4"]["-O2"]["instructions"] if told else None}


@lru_cache
def streamed(scene: str, name: str) -> dict[str, int]:
    """RAM that the C of a network takes in whole numbers, from its layers alone; nothing if it has no such C.

    >>> streamed("indian_pines_8bit", "ghost_lens")["ram64"]
    63616
    """
    if name not in METHODS or not isinstance(get(name).network, type):  # a page of your own may not be read
        return {}
    method = get(name)
    here, sizes = entry(scene), {key: method.options[key] for key in method.config}
    net = initialise(method.network(here.shape[2], len(here.classes), **sizes), 0).eval()
    try:
        states = costs(net, *RAM.values())["state"]
        return {key: states[width] + STACK + width * spectrum(scene) for key, width in RAM.items()}
    except HsiError:
        return {}


def takes(row: Any) -> dict[str, int | None]:
    """What the C of a row's network takes: as a file with its layers does, or of RAM by its layers alone.

    A vote behind an int8 network takes what ``examples/onboard/vote.h`` does with a square of 9 x 9.
    """
    found = on_devices().get((row["scene"], row["payload"], row["macs"]), NO_C)
    options = options_of(row["options"])
    if row["method"] == "filtered":
        if options.get("int8") is not True or set(options) - {"of", "vote", "int8"}:
            return NO_C  # the C of a network has no other filter
        alike = [one for (scene, _, macs), one in on_devices().items()
                 if (scene, macs) == (row["scene"], row["macs"]) and one["flash"]]
        more = counted()["vote"] | {key: options["vote"] * width + VOTE for key, width in RAM.items()}
        return {key: size and size + more[key] for key, size in alike[0].items()} if alike else NO_C
    of = options.get("of")
    if found["ram64"] or not of or row["method"] not in ("static", "qat"):
        return found
    return found | streamed(row["scene"], of.removesuffix("_taught"))  # the same layers


@lru_cache
def spectrum(scene: str) -> int:
    """Bytes of a raw spectrum of a scene, which a device holds for each pixel of a line."""
    return entry(scene).shape[2] * (1 if "8-bit" in entry(scene).title else 2)


def halves(one: dict, metric: str) -> tuple[list[float], list[float]]:
    """The accuracies of a network with the seeds that pick, and with those that say how good the pick is."""
    pairs = list(zip(one["seed"], one[metric]))
    return tuple([value for seed, value in pairs if (seed in PICK) == picks] for picks in (True, False))


def networks(rows: pd.DataFrame, least: int = LEAST) -> list[dict]:
    """One entry for each network that was trained on a division into separate areas with at least so many
    seeds: what it is, what it costs, and its accuracies by seed.

    Where no class has 30 test pixels AA stands for AA30.
    """
    rows = rows[rows["split"].isin(["disjoint", "blocks"]) & (rows["payload"] > 0)]
    rows = rows[~rows["scene"].isin(ABOUT_A_FILE)]
    rows = rows.assign(name=names(rows))
    lines, zoo = [], {run_of(said).id: name for name, said in entries().items()}
    known = usual(rows.drop_duplicates(NETWORK))
    for _, group in rows.groupby(NETWORK, sort=False):
        if len(group) < least:
            continue
        group = group.sort_values("seed")
        one = group.iloc[0]
        cost, given = takes(one), options_of(one["options"])
        voted = one["method"] == "filtered" and cost["flash"]  # the C of an int8 network, and vote.h
        method, last = one["method"], ""
        if voted:
            method, last = "static", f" --format c  # vote.h, VOTE_SIZE {given['vote']}"
            given = {"of": given.get("of", get("filtered").options["of"])}
        words = f"hsilib export {method} --scene {one['scene']} --split {one['split']}"
        words += f" --ratio {one['ratio']}" * bool(one["ratio"])
        words += "".join(f" -o {option} {word}" for option, word in given.items()) + last
        exported = group["run"].isin(known).any() and method not in NOT_EXPORTED
        file = next((zoo[run] for run in group["run"] if run in zoo), None)
        lines.append({
            "scene": f"{one['scene']}, {one['split']}", "name": one["name"],
            "payload": round(group["payload"].mean()),
            "macs": None if pd.isna(one["macs"]) else int(one["macs"]),
            **cost, "seed": group["seed"].tolist(),
            "oa": group["oa"].round(3).tolist(), "aa": group["aa"].round(3).tolist(),
            "aa30": group["aa30"].fillna(group["aa"]).round(3).tolist(), "small": one["small"],
            "command": words if exported else None, "file": file,
        })
    return lines


COLUMNS = {
    "oa": 2, "aa30": 2, "aa": 2, "kappa": 2, "f1": 2, "payload": 0, "ram64": 0, "macs": 0, "leakage": 2,
    "epochs": 0, "seed": 0
}


def explorer(store: Store, scenes: Sequence[str] = ()) -> None:
    """All rows of these scenes, or of all, to be filtered, sorted and drawn."""
    rows = store.rows()
    rows = rows[rows["scene"].isin(scenes or rows["scene"].unique())].reset_index(drop=True)
    rows["ram64"] = pd.Series([takes(row)["ram64"] for row in rows.to_dict("records")], dtype=float)
    words = rows[["scene", "split"]].assign(
        family=rows["method"].map(lambda name: kind(name) if name in METHODS else "other"),
        size=rows["ratio"].map(lambda ratio: f"{ratio} %" if ratio else "–"), network=names(rows),
    )
    data = {"words": {}, "numbers": {}, "looks": FAMILIES}
    for name, column in words.items():
        codes, values = pd.factorize(column)
        data["words"][name] = {"values": list(values), "codes": codes.tolist()}
    for name, digits in COLUMNS.items():
        cast = float if digits else int
        column = rows[name].round(digits)
        data["numbers"][name] = [None if pd.isna(value) else cast(value) for value in column]
    count = words.groupby(["scene", "split"], sort=False).size().rename("runs").reset_index()
    show("explorer", data, count)
