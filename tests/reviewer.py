"""What the headline says, recomputed from stored maps and labels alone; nothing of the library is used.

    python tests/reviewer.py          a line for each claim and measure: difference, both 95 % intervals

It reads `book/results`: `*.csv` for which run is which, `scenes/<scene>/*.png` and `maps/<run>.png`.  A field is a
connected piece of one class among the test pixels, in which corners join.  Intervals over seeds: Student's t of
the paired differences.  Over seeds and fields: 95 % of 4,000 draws of both, with replacement, on random numbers
of its own.  Only splits with a published training map are recomputed: others are drawn by the library.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage, stats

RESULTS = Path(__file__).resolve().parents[1] / "book" / "results"
INDIAN, PAVIA = "indian_pines_8bit", "pavia_university_visible"
NETWORKS = {  # (method, its options, size), each 60 epochs, one cycle up to 0.002
    "Lens taught, int8": ("static", "of=lens_taught", 0), "Lens, int8": ("static", "of=lens", 0),
    "Lens taught": ("lens_taught", "", 0), "Lens": ("lens", "", 0), "dense taught": ("cnn2d_taught", "", 0),
    "dense with flips": ("cnn2d_aug", "", 0), "98 % student with flips": ("scratch_aug", "", 98),
    "perceptron": ("perceptron", "", 0),
}
CLAIMS = [  # (scene, the one, the other): the rival that could refute a claim is the other
    (INDIAN, "Lens taught, int8", "dense taught"), (INDIAN, "Lens taught, int8", "dense with flips"),
    (INDIAN, "Lens taught, int8", "Lens, int8"), (INDIAN, "Lens taught", "dense taught"),
    (INDIAN, "Lens", "dense with flips"), (INDIAN, "Lens", "98 % student with flips"),
    (INDIAN, "Lens", "perceptron"), (PAVIA, "Lens taught", "dense taught"),
    (PAVIA, "Lens taught", "dense with flips"), (PAVIA, "Lens", "dense with flips"),
]
MEASURES = ("OA", "AA30", "AA")


def read_rows():
    table = pd.concat([pd.read_csv(path, keep_default_na=False) for path in sorted(RESULTS.glob("*.csv"))])
    recipe = (table["epochs"] == 60) & (table["lr"] == 0.002) & (table["schedule"] == "one_cycle")
    return table[recipe & (table["split"] == "disjoint")]


def png(*names):
    return np.array(Image.open(RESULTS.joinpath(*names)))


def tested_of(scene):
    """The class of each test pixel, 0 elsewhere: labels that are no training pixels."""
    folder = RESULTS / "scenes" / scene
    truth = png("scenes", scene, "test_map.png" if (folder / "test_map.png").exists() else "labels.png").astype(int)
    return np.where(png("scenes", scene, "train_map.png") > 0, 0, truth)


def fields_of(tested):
    """[(class, mask)] of every field."""
    found = []
    for number in range(1, tested.max() + 1):
        pieces, count = ndimage.label(tested == number, structure=[[1, 1, 1]] * 3)
        found += [(number, pieces == piece) for piece in range(1, count + 1)]
    return found


def measure(hits, sizes, classes, drawn, counted):
    """OA, AA30 and AA in percent, of hits and pixels by field; ``drawn``: how often each field counts."""
    hits, sizes = hits * drawn, sizes * drawn
    recalls = {}
    for number in set(classes[drawn > 0]):
        mine = classes == number
        recalls[number] = hits[mine].sum() / sizes[mine].sum()
    large = [recall for number, recall in recalls.items() if counted[number] >= 30]
    return 100 * np.array([hits.sum() / sizes.sum(), np.mean(large) if large else np.nan, np.mean([*recalls.values()])])


def claims(draws=4000):
    """A line for each claim and measure, and {run: its OA, AA30 and AA}."""
    rows, lines, recomputed = read_rows(), [], {}
    for scene in (INDIAN, PAVIA):
        fields = fields_of(tested_of(scene))
        classes = np.array([number for number, _ in fields])
        sizes = np.array([mask.sum() for _, mask in fields])
        counted = {number: sizes[classes == number].sum() for number in set(classes)}
        hits = {}
        for name in {name for where, *two in CLAIMS if where == scene for name in two}:
            method, options, size = NETWORKS[name]
            mine = rows[(rows["scene"] == scene) & (rows["method"] == method) & (rows["ratio"] == size)]
            mine = mine[mine["options"] == options]
            for run, seed in zip(mine["run"], mine["seed"]):
                drawn = png("maps", f"{run}.png")
                hits[name, seed] = np.array([(drawn[mask] == number).sum() for number, mask in fields])
                recomputed[run] = measure(hits[name, seed], sizes, classes, np.ones(len(fields)), counted)
        for where, one, other in CLAIMS:
            if where != scene:
                continue
            seeds = sorted({s for n, s in hits if n == one} & {s for n, s in hits if n == other})
            a, b = (np.array([hits[name, seed] for seed in seeds]) for name in (one, other))
            ones = np.ones(len(fields))
            paired = [[measure(h[i], sizes, classes, ones, counted) for i in range(len(seeds))] for h in (a, b)]
            paired = np.array(paired[0]) - np.array(paired[1])
            rng, drawn = np.random.default_rng(20), []
            for _ in range(draws):
                who = rng.integers(0, len(seeds), len(seeds))
                what = np.bincount(rng.integers(0, len(fields), len(fields)), minlength=len(fields))
                gain = (a[who] - b[who]).mean(0)  # measures are linear in hits
                drawn.append(measure(gain, sizes, classes, what, counted))
            narrow, wide = stats.ttest_1samp(paired, 0).confidence_interval(), np.nanquantile(drawn, [0.025, 0.975], axis=0)
            by_field = (a - b).mean(0).round(9)
            larger = by_field[sizes >= 10]
            most = int(np.abs(by_field).argmax())
            for place, name in enumerate(MEASURES):
                lines.append({"scene": scene, "claim": f"{one} less {other}", "measure": name, "seeds": len(seeds),
                              "fields": len(fields), "difference": paired[:, place].mean(),
                              "low": narrow.low[place], "high": narrow.high[place],
                              "low, fields": wide[0, place], "high, fields": wide[1, place],
                              "better": (larger > 0).sum(), "worse": (larger < 0).sum(),
                              "most": 100 * by_field[most] / sizes.sum()})
    return pd.DataFrame(lines), recomputed


if __name__ == "__main__":
    found, runs = claims()
    print(found.round(2).to_string(index=False))
    print(f"{len(runs)} runs recomputed from their maps")
