"""The command line: ``python -m hsilib scenes | methods | run | study | map | export | predict | bench``."""

import argparse
import json
import logging
import os
import sys
from argparse import Namespace
from ast import literal_eval
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import hsilib
from hsilib.errors import HsiError, known

if TYPE_CHECKING:
    from hsilib.study.runs import Run


def scenes_command(args: Namespace) -> None:
    """List the scenes; show, add, check or forget one."""
    from hsilib.data import own, told

    if args.add:
        _add_scene(args)
    elif args.check:
        print("\n".join(told.of_bytes(args.check, args.cube_key, args.repair)))
    elif args.show:
        print("\n".join(told.of_scene(args.show)))
    elif args.remove:
        own.remove(args.remove)
        print(f"{args.remove}: forgotten; its files stay")
    else:
        print("\n".join(told.of_all()))


def _add_scene(args):
    from hsilib.data import own, scenes, told

    name = args.add[0]
    if len(args.add) == 2:
        for file in own.add_images(*args.add, skip=args.skip):
            print(f"left out: {file}")
        added = scenes.image_set(name)
        print(f"{name}: {len(added.files)} images of {len(added.classes)} classes")
        return
    if len(args.add) != 3:
        raise HsiError("scenes --add takes NAME CUBE LABELS, or NAME and a folder of images")
    words = {part: getattr(args, part) for part in ("cube_key", "label_key", "train", "test", "nodata")}
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
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def run_command(args: Namespace) -> None:
    """Execute a chapter, and render its page if parameters were given."""
    from hsilib.pages import runner

    if args.list:
        for name, (default, comment) in runner.parameters_of(args.chapter).items():
            print(f"{name:12} {default!r:40} {comment}")
        return
    given = {name: value(text) for name, text in args.parameter}
    path = runner.run(args.chapter, given)
    if given:
        print(f"page: {os.path.relpath(runner.render(path))}")


def study_command(args: Namespace) -> None:
    """Train what a declared study still lacks, say what that is, or check what is stored."""
    from hsilib.files import project
    from hsilib.study import runs, sweep
    from hsilib.study.store import Store

    if args.device != "cpu":
        from torch.cuda import is_available

        if not is_available():
            raise HsiError(f"device {args.device}: no GPU that this torch can use; leave --device out")
    store = Store()
    rows = store.rows()
    parts = runs.declared(args.file or project() / "book" / "study.toml")
    declared = list(dict.fromkeys(sum(parts.values(), [])))
    if args.check is not None:
        if not sweep.check(declared, store, args.check):
            says = "not every run gave its stored accuracies; on another processor or version that can be"
            raise HsiError(says)
        return
    for title, planned in parts.items():
        missing = sweep.lacking(planned, rows)
        line = f"{title}: {len(planned) - len(missing)} of {len(planned)} runs stored"
        if missing:
            try:
                seconds = sum(sweep.costs_of(missing, rows, lambda name: store.card(name)[0]).values())
                line += f", about {sweep.duration(seconds)} of one core missing"
            except HsiError as error:
                line += f"; {error}"
        print(line, flush=True)
    if not args.list:
        sweep.collect(declared, store, device=args.device)


def chosen_run(args: Namespace) -> "Run":
    """Return the run that the words of ``run_arguments`` name."""
    from hsilib.study.runs import make_run

    options = {name: value(text) for name, text in args.option}
    return make_run(args.scene, args.split, args.method, args.ratio, args.seed, args.epochs, options)


def file_name(args: Namespace, run: "Run") -> str:
    """Return how files of a run are called unless ``--output`` says otherwise."""
    return f"{args.method}-{args.ratio}-{args.scene}-{args.split}-{args.seed}-{run.id}"


def export_command(args: Namespace) -> None:
    """Write one trained network as an ONNX file, or as C."""
    from hsilib.deploy.export import export

    run = chosen_run(args)
    if args.format == "c":
        from hsilib.deploy.c99 import export_c

        report = export_c(run, args.output or f"{args.method}.c", tuple(args.tile))
        rows, columns = report["tile"]
        print(f"{run}: {report['code']}, {rows} x {columns} pixels a call; {report['test']} checks it")
        flash, ram = (report[part] or "?" for part in ("flash", "ram"))
        print(f"flash {flash} bytes, stack {ram} bytes, as gcc makes them here")
        return
    path = args.output or f"{file_name(args, run)}.onnx"
    print(f"{run}: {path}, {export(run, path) / 1e6:.3f} MB")


def predict_command(args: Namespace) -> None:
    """Write the class map of a scene by an exported file."""
    from pathlib import Path

    import numpy as np
    from tqdm import tqdm

    from hsilib.data import scenes
    from hsilib.data.formats import open_image
    from hsilib.deploy.maps import write_map
    from hsilib.deploy.predict import predict_image
    from hsilib.deploy.zoo import path_of
    from hsilib.pages.text import joined

    if args.scene in scenes.names():
        image = scenes.image_of(args.scene)
    elif Path(args.scene).suffix or "/" in args.scene:
        image = open_image(Path(args.scene), args.cube_key)
    else:
        known("scene", args.scene, scenes.names())
    with tqdm(total=image.size[0], unit=" rows", disable=None, leave=False) as bar:
        model = path_of(args.model)
        labels, sure, metadata = predict_image(model, image, lambda done, rows: bar.update(done - bar.n))
    base, classes = args.output or f"{model.stem}-{Path(args.scene).stem}", metadata["classes"]
    files = write_map(base, labels, sure, classes, image.crs, image.transform)
    counts = np.bincount(labels.ravel(), minlength=len(classes) + 1)
    print(f"{metadata['model']}: {joined(files)}, {labels.shape[0]} x {labels.shape[1]} pixels")
    for name, count in zip(classes, counts[1:]):
        print(f"{100 * count / max(counts[1:].sum(), 1):6.2f} %  {name}")
    if counts[0]:
        print(f"{100 * counts[0] / labels.size:6.2f} %  of the pixels hold no data")


def map_command(args: Namespace) -> None:
    """Write the class map of a whole scene by one run."""
    from hsilib.data.scenes import load_scene
    from hsilib.deploy.maps import confidence, write_map
    from hsilib.pages.text import joined
    from hsilib.study.store import Store
    from hsilib.study.sweep import collect

    store, run = Store(), chosen_run(args)
    collect([run], store)  # trains it if need be
    labels, scene = store.read_map(run.id), load_scene(run.scene)
    sure = confidence(run, store) if scene.transform else None
    base = args.output or file_name(args, run)
    files = write_map(base, labels, sure, scene.classes, scene.crs, scene.transform)
    print(f"{run}: {joined(files)}, {labels.shape[0]} x {labels.shape[1]} pixels, classes from 1")


def bench_command(args: Namespace) -> None:
    """Measure speed."""
    from hsilib.deploy import bench

    bench.main(args.only, save=args.save)


def run_arguments(p: argparse.ArgumentParser) -> None:
    """Add the words that name one run."""
    p.add_argument("method")
    p.add_argument("--scene", default="indian_pines_8bit")
    p.add_argument("--split", default="disjoint")
    p.add_argument("--ratio", type=int, default=0)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--epochs", type=int)
    _pairs(p, "-o", "option", help="hyper-parameter")


def _pairs(p, flag, name, **more):
    p.add_argument(flag, dest=name, nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), **more)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, with an example in the help of each command."""
    top = argparse.ArgumentParser(prog="python -m hsilib", description=__doc__)
    top.add_argument("--version", action="version", version=f"hsilib {hsilib.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    small = "--ratio 98 --scene synthetic_fields_small --epochs 5"

    def add(function, help, example):
        name = function.__name__.removesuffix("_command")
        epilog = f"example:\n  python -m hsilib {name} {example}"
        form = argparse.RawDescriptionHelpFormatter
        p = commands.add_parser(name, help=help, description=help, epilog=epilog, formatter_class=form)
        p.set_defaults(function=function)
        return p

    example = "--add my_field cube.npy labels.npy --classes wheat,oats"
    p = add(scenes_command, "list the scenes; show, add, check or forget one", example)
    two_forms = "NAME CUBE LABELS: .npy, .npz, .mat, ENVI or GeoTIFF, labels from polygons too; "
    two_forms += "NAME FOLDER: a folder or .zip of images, one folder a class"
    p.add_argument("--add", nargs="+", metavar=("NAME", "FILE"), help=two_forms)
    p.add_argument("--show", metavar="NAME", help="print what is known of a scene")
    p.add_argument("--remove", metavar="NAME", help="forget a scene of your own; its files stay")
    p.add_argument("--check", metavar="FILE", help="say whether a cube of 16-bit numbers has lost bytes")
    again = "with --check: write a copy in which what is certain is put right"
    p.add_argument("--repair", metavar="FILE.npy", help=again)
    p.add_argument("--skip", action="store_true", help="leave out images that are damaged or not RGB")
    p.add_argument("--cube-key", default="", help="array in the cube's file, if it holds several")
    p.add_argument("--label-key", default="", help="array in the label map's file, or attribute of polygons")
    p.add_argument("--classes", default="", help="class names, separated by commas")
    p.add_argument("--train", default="", help="training map: gives the scene a split disjoint")
    p.add_argument("--test", default="", help="test map; without one, all other labelled pixels are tested")
    p.add_argument("--nodata", type=float, help="what pixels without data hold, if the file does not say")

    p = add(methods_command, "list the methods and their hyper-parameters", "--json")
    p.add_argument("--json", action="store_true", help="for programs")

    example = "baselines -p scene salinas_a -p seeds 2"
    p = add(run_command, "execute a chapter; only what the store lacks is trained", example)
    p.add_argument("chapter", help="name of a chapter (baselines) or path of a notebook (my_method.md)")
    _pairs(p, "-p", "parameter")
    p.add_argument("--list", action="store_true", help="show the chapter's parameters and stop")

    p = add(study_command, "train what a declared study still lacks; stop and restart at will", "--list")
    p.add_argument("file", nargs="?", help="a study file (default: book/study.toml, what the book holds)")
    p.add_argument("--list", action="store_true", help="say what is missing and what it costs, and stop")
    again = "train N stored runs anew, drawn by lot, and compare"
    p.add_argument("--check", type=int, metavar="N", help=again)
    p.add_argument("--device", default="cpu", choices=("cpu", "cuda"))

    p = add(map_command, "class map of a whole scene: PNG, .npy, GeoTIFF", f"scratch {small}")
    run_arguments(p)
    p.add_argument("--output", help="path without extension")

    what = "one trained network as an ONNX file that classifies raw spectra"
    p = add(export_command, what, f"static {small}")
    run_arguments(p)
    p.add_argument("--output", help="path of the file")
    p.add_argument("--format", choices=("onnx", "c"), default="onnx", help="c: C99 that needs libc only")
    sides, once = ("ROWS", "COLUMNS"), "pixels of one call of C"
    p.add_argument("--tile", nargs=2, type=int, default=(1, 32), metavar=sides, help=once)

    what = "class map of a scene by an exported file: PNG, .npy, GeoTIFF"
    p = add(predict_command, what, "model.onnx cube.npy")
    p.add_argument("model", help="a file written by export")
    p.add_argument("scene", help="name of a scene, or a file: .npy, .npz, .mat, ENVI, GeoTIFF")
    p.add_argument("--cube-key", default="", help="array in the file, if it holds several")
    p.add_argument("--output", help="path without extension")

    p = add(bench_command, "speed, as ratios within one run", "dense")
    choices = "dense, loop, latency, agreement, teaching, images, or all"
    p.add_argument("only", nargs="?", default="all", help=choices)
    keep = "keep the result for the book (book/results/bench.json)"
    p.add_argument("--save", action="store_true", help=keep)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit code: 2 after a user's mistake, which is told in one line."""
    args = parser().parse_args(arguments)
    try:
        args.function(args)
    except BrokenPipeError:
        return 0
    except (HsiError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # the notebook client leaves its task behind
        print("stopped; what was finished is stored, the same command goes on from there", file=sys.stderr)
        return 130
    return 0


def script() -> None:
    """Run the console script ``hsilib``."""
    sys.exit(main())


if __name__ == "__main__":
    script()
