"""What each command does; the words it takes are in ``__main__``."""

import json
import os
from argparse import Namespace
from ast import literal_eval
from pathlib import Path
from typing import Any

from hsilib.errors import HsiError, joined, known
from hsilib.identity import Run

ELSEWHERE = "train on the workers of a Dask scheduler, tcp://HOST:8786; or local:4, four workers here"


def scenes_command(args: Namespace) -> None:
    """List the scenes; show, add, check or forget one."""
    from hsilib.data import own, told

    if args.add:
        _add_scene(args)
    elif args.check is not None:
        print("\n".join(told.lost_bytes(args.check, args.cube_key, args.repair)))
    elif args.show is not None:
        print("\n".join(told.of_scene(args.show)))
    elif args.remove is not None:
        own.remove(args.remove)
        print(f"{args.remove}: forgotten; its files stay")
    else:
        print("\n".join(told.of_all()))


def _add_scene(args):
    from hsilib.data import imagesets, own, told
    from hsilib.data.described import plain

    name = args.add[0]
    if len(args.add) == 2:
        for file in own.add_images(*args.add, skip=args.skip):
            print(f"left out: {plain(file)}")
        added = imagesets.open_set(name)
        print(f"{name}: {len(added.files)} images of {len(added.classes)} classes")
        return
    if len(args.add) != 3:
        raise HsiError("scenes --add takes NAME CUBE LABELS, or NAME and a folder of images")
    words = {part: getattr(args, part) for part in "cube_key label_key train test nodata".split()}
    words["classes"] = [c.strip() for c in args.classes.split(",")] if args.classes else ()
    path = own.add_scene(*args.add, **words)
    print("\n".join([f"{name}: written to {path}", *told.of_scene(name)]))


def methods_command(args: Namespace) -> None:
    """List the methods and their hyper-parameters."""
    from hsilib.methods import METHODS

    if args.json:
        fields = ("family", "title", "about", "paper", "version", "ratios", "options")
        print(json.dumps({name: {f: getattr(m, f) for f in fields} for name, m in METHODS.items()}, indent=1))
        return
    for name, m in METHODS.items():
        sizes = "" if m.ratios == (0,) else " at " + ", ".join(f"{r} %" for r in m.ratios)
        print(f"{name:14} {m.family:10} {m.title}{sizes}. {m.about}")
        if m.options:
            print(" " * 26 + ", ".join(f"{k}={v}" for k, v in m.options.items()))


def value(text: str) -> Any:
    """Return what a word of the command line stands for: a number, a list ..., or else the text itself."""
    try:
        return literal_eval(text) if len(text) < 10_000 else text
    except Exception:  # Python means something else by it
        return text


def splits_command(args: Namespace) -> None:
    """List the divisions into training and test pixels."""
    from hsilib.data.splits import SPLITS

    for name, what in SPLITS.items():
        print(f"{name:20} {what}")


def study_command(args: Namespace) -> None:
    """Train what a declared study still lacks, say what that is, or check what is stored."""
    from hsilib.data import told
    from hsilib.data.scenes import load_scene
    from hsilib.files import project
    from hsilib.study import merge, runs, sweep
    from hsilib.study.store import Store

    sweep.usable(args.device)
    store = merge.book() if args.publish else Store()
    rows = store.rows()
    file = args.file or project() / "book" / "study.toml"
    if not args.file and not file.is_file():
        brings = "the book's study comes with pip install hsibook (in a clone: ./book)"
        raise HsiError(f"{brings}; name a file to train one of yours")
    parts = runs.declared(file)
    declared = list(dict.fromkeys(sum(parts.values(), [])))
    if args.check is not None:
        sweep.check(declared, store, args.check)
        return

    def scene_of(name):
        """A scene for its divisions: its card, or else its files; nothing is written."""
        return store.card(name)[0] if store.find("scenes", name, "card.json").is_file() else load_scene(name)

    for title, planned in parts.items():
        missing = sweep.lacking(planned, rows)
        line = f"{title}: {len(planned) - len(missing)} of {len(planned)} runs stored"
        absent = sorted({run.scene for run in missing if not told.at_hand(run.scene)})
        if absent:
            line += f"; to train the others needs the files of {', '.join(absent)}"
        elif missing:
            try:
                whole = sum(sweep.levels(missing, rows), [])
                seconds = sum(sweep.costs_of(whole, rows, scene_of).values())
                line += f", about {sweep.duration(seconds)} of one core missing"
                line += ", with the runs that they start from" * (len(whole) > len(missing))
            except HsiError as error:
                line += f"; {error}"
        print(line, flush=True)
    if not args.list:
        sweep.collect(declared, store, args.jobs, args.device, on=args.on)
        if args.publish:
            merge.pack(store)


def results_command(args: Namespace) -> None:
    """List, export or remove the runs that are held; check, fetch or take over others."""
    from hsilib.files import write_atomically
    from hsilib.study import merge
    from hsilib.study.store import Store

    store = Store()
    if args.merge is not None or args.publish is not None:
        store = store if args.publish is None else merge.book()
        store.check()
        taken, same, refused = merge.merge(store, Path(args.merge or args.publish))
        if args.publish is not None:
            merge.pack(store)
        print(f"{taken} runs taken over into {store.folder}, {same} were here already")
        _say_refused(refused)
    elif args.check is not None:
        from hsilib.study.contributed import check

        count, refused = check(args.check)
        _say_refused(refused, f" of {count}")
        print(f"{args.check}: {count} runs: identities, accuracies and counts of pixels are confirmed")
    elif args.fetch is not None:
        from hsilib.study.fetch import fetch

        folder, count = fetch(args.fetch)
        print(f"{folder}: {count} files of published runs")
    elif args.remove is not None:
        print(f"{merge.drop(store, args.remove)} runs of {args.remove} taken out of {store.folder}")
    elif args.convert:
        print(f"{merge.convert(store)} runs in {store.folder} became folders")
    elif args.export is not None:
        rows = store.rows()
        write_atomically(args.export, rows.to_csv(index=False))
        print(f"{args.export}: {len(rows)} runs")
    else:
        table = merge.listing(store)
        print(table.to_string(index=False) if len(table) else "no runs yet")
        print(f"yours are in {store.folder}")


def _say_refused(lines, of=""):
    for line in lines:
        print(f"refused: {line}")
    if lines:
        raise HsiError(f"{len(lines)}{of} runs were refused")


def chosen_run(args: Namespace) -> Run:
    """Return the run that the words of ``run_arguments`` name."""
    from hsilib.methods import METHODS
    from hsilib.study.runs import make_run

    try:
        known("method", args.method, METHODS)
    except HsiError as error:
        raise HsiError(f"{error}; written in a page of yours: --page PAGE") from None
    options = {name: value(text) for name, text in args.option}
    return make_run(args.scene, args.split, args.method, args.ratio, args.seed, args.epochs, options)


def unless_told(name: str) -> str:
    """Return where files go unless ``--output`` says otherwise: into ``results``, which git ignores."""
    from hsilib.files import workplace

    return os.path.relpath(workplace() / "results" / name)


def _name_of(args, run):
    return unless_told(f"{args.method}-{args.ratio}-{args.scene}-{args.split}-{args.seed}-{run.id}")


def export_command(args: Namespace) -> None:
    """Write one trained network as an ONNX file, or as C."""
    from hsilib.deploy.export import export
    from hsilib.study.store import Store

    run = chosen_run(args)
    if args.format == "c":
        from hsilib.deploy.c99 import export_c

        report = export_c(run, args.output or unless_told(f"{args.method}.c"), tuple(args.tile), args.ram)
        print(f"{run}: {', '.join(report['files'])}; arithmetic: {report['arithmetic']}")
        if "state" in report:
            state = " or ".join(f"{size} at {width} pixels" for width, size in report["state"].items())
            within = f" in {args.ram} bytes of state and stack" if args.ram else ""
            print(f"a line of spectra in, a line of classes out; strips of {report['strip']} columns{within}")
        else:
            rows, columns = report["tile"]
            state = f"{report['static']} static and {report['given']} that a call is given"
            print(f"{rows} x {columns} pixels a call; stored in 8 bits where it is, computed in floats")
        print(f"bytes: flash {report['flash']}, state {state}, stack {report['stack']} ({report['by']})")
    else:
        path = args.output or f"{_name_of(args, run)}.onnx"
        print(f"{run}: {path}, {export(run, path) / 1e6:.3f} MB")
    rows = Store().rows()
    for row in rows[rows["run"] == run.id].to_dict("records"):
        told = (f"{word} {row[key]:.1f} %" for word, key in (("OA", "oa"), ("AA30", "aa30"), ("AA", "aa")))
        print(f"on the test set, with this seed: {', '.join(told)}; leakage {row['leakage']:.1f} %")


def predict_command(args: Namespace) -> None:
    """Write the class map of a scene by an exported file."""
    import numpy as np
    from tqdm import tqdm

    from hsilib.data import registry, scenes
    from hsilib.data.formats import open_image
    from hsilib.deploy.maps import write_map
    from hsilib.deploy.predict import path_of, predict_image

    if args.scene in registry.names():
        image = scenes.image_of(args.scene)
    elif Path(args.scene).suffix or "/" in args.scene:
        image = open_image(Path(args.scene), args.cube_key)
    else:
        known("scene", args.scene, registry.names())
    with tqdm(total=image.size[0], unit=" rows", disable=None, leave=False) as bar:
        model = path_of(args.model)
        labels, sure, metadata = predict_image(model, image, lambda done, rows: bar.update(done - bar.n))
    base, classes = args.output or unless_told(f"{model.stem}-{Path(args.scene).stem}"), metadata["classes"]
    files = write_map(base, labels, sure, classes, image.crs, image.transform)
    counts = np.bincount(labels.ravel(), minlength=len(classes) + 1)
    print(f"{metadata['model']}: {', '.join(files)}, {labels.shape[0]} x {labels.shape[1]} pixels")
    for name, count in zip(classes, counts[1:]):
        print(f"{100 * count / max(counts[1:].sum(), 1):6.2f} %  {name}")
    if counts[0]:
        print(f"{100 * counts[0] / labels.size:6.2f} %  of the pixels hold no data")


def map_command(args: Namespace) -> None:
    """Write the class map of a whole scene by one run."""
    from hsilib.data.cards import fits
    from hsilib.data.scenes import load_scene
    from hsilib.deploy.maps import confidence, write_map
    from hsilib.study.store import Store
    from hsilib.study.sweep import collect

    store, run = Store(), chosen_run(args)
    collect([run], store)  # trains it if need be
    labels, scene = store.read_map(run.id), load_scene(run.scene)
    if not fits(labels, scene):
        raise HsiError(f"{store.map_path(run.id)}: no map of {run.scene}; delete it and its row")
    sure = confidence(run, store) if scene.transform else None
    base = args.output or _name_of(args, run)
    files = write_map(base, labels, sure, scene.classes, scene.crs, scene.transform)
    print(f"{run}: {joined(files)}, {labels.shape[0]} x {labels.shape[1]} pixels, classes from 1")
