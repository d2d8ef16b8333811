"""The command line: ``python -m hsilib scenes | methods | run | study | map | export | predict | bench``."""

import argparse
import json
import logging
import os
import sys
from ast import literal_eval

import hsilib
from hsilib.errors import HsiError, known


def scenes_command(args):
    from hsilib.data import own, scenes, synthetic

    if args.add and len(args.add) == 2:
        for file in own.add_images(*args.add, skip=args.skip):
            print(f"left out: {file}")
        added = scenes.image_set(args.add[0])
        print(f"{args.add[0]}: {len(added.files)} images of {len(added.classes)} classes")
        return
    if args.add:
        if len(args.add) != 3:
            raise HsiError("scenes --add takes NAME CUBE LABELS, or NAME and a folder of images")
        classes = [c.strip() for c in args.classes.split(",")] if args.classes else ()
        path = own.add_scene(*args.add, cube_key=args.cube_key, label_key=args.label_key, classes=classes)
        print(f"{args.add[0]}: written to {path}")
        return
    print(f"{'name':24} {'rows x cols x bands':20} {'classes':>7}  {'files':10} title")
    for name in scenes.names():
        if name in scenes.image_names():
            continue
        if name in synthetic.SCENES:
            title, h, w, b, k, *_ = synthetic.SCENES[name]
            state = "embedded"
        else:
            about = scenes.entry(name)
            title, (h, w, b), k = about.title, about.shape, len(about.classes)
            state = "found" if all(scenes.local(f) for f in (about.cube, about.labels)) else "not here"
        print(f"{name:24} {f'{h} x {w} x {b}':20} {k:7}  {state:10} {title}")
    for name in scenes.image_names():
        try:
            about = scenes.image_set(name)
            print(
                f"{name:24} {f'{len(about.files)} images':20} {len(about.classes):7}  {'found':10} {about.title}"
            )
        except HsiError:
            print(f"{name:24} {'images':20} {'':7}  {'not here':10}")


def methods_command(args):
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


def value(text):
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def run_command(args):
    from hsilib.pages import runner

    if args.list:
        for name, (default, comment) in runner.declared(args.chapter).items():
            print(f"{name:12} {default!r:40} {comment}")
        return
    given = {name: value(text) for name, text in args.parameter}
    path = runner.run(args.chapter, given)
    if given:
        print(f"page: {os.path.relpath(runner.render(path))}")


def study_command(args):
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
    every = list(dict.fromkeys(sum(parts.values(), [])))
    if args.check is not None:
        if not sweep.check(every, store, args.check):
            raise HsiError(
                "not every run gave its stored accuracies; on another processor or version that can be"
            )
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
        sweep.collect(every, store, device=args.device)


def chosen_run(args):
    from hsilib.study.runs import make_run

    options = {name: value(text) for name, text in args.option}
    return make_run(args.scene, args.split, args.method, args.ratio, args.seed, args.epochs, options)


def file_name(args, run):
    return f"{args.method}-{args.ratio}-{args.scene}-{args.split}-{args.seed}-{run.id}"


def export_command(args):
    from hsilib.deploy.export import export

    run = chosen_run(args)
    path = args.output or f"{file_name(args, run)}.onnx"
    print(f"{run}: {path}, {export(run, path) / 1e6:.3f} MB")


def predict_command(args):
    from pathlib import Path

    import numpy as np

    from hsilib.data import scenes
    from hsilib.data.cards import png
    from hsilib.data.formats import read_array
    from hsilib.deploy.predict import predict
    from hsilib.files import write_atomically

    if args.scene in scenes.names():
        cube = scenes.load_scene(args.scene).cube
    elif Path(args.scene).suffix or "/" in args.scene:
        cube = read_array(Path(args.scene), args.cube_key)
    else:
        known("scene", args.scene, scenes.names())
    labels, about = predict(args.model, cube)
    base = args.output or f"{Path(args.model).stem}-{Path(args.scene).stem}"
    write_atomically(f"{base}.png", png(labels))
    np.save(f"{base}.npy", labels)
    counts = np.bincount(labels.ravel(), minlength=len(about["classes"]) + 1)[1:]
    print(f"{about['model']}: {base}.png and {base}.npy, {labels.shape[0]} x {labels.shape[1]} pixels")
    for name, count in zip(about["classes"], counts):
        print(f"{100 * count / labels.size:6.2f} %  {name}")


def map_command(args):
    import numpy as np

    from hsilib.files import write_atomically
    from hsilib.study.store import Store
    from hsilib.study.sweep import collect

    store, run = Store(), chosen_run(args)
    collect([run], store)  # trains it if need be
    labels = store.read_map(run.id)
    base = args.output or file_name(args, run)
    write_atomically(f"{base}.png", store.map_path(run.id).read_bytes())
    np.save(f"{base}.npy", labels)
    print(f"{run}: {base}.png and {base}.npy, {labels.shape[0]} x {labels.shape[1]} pixels, classes from 1")


def bench_command(args):
    from hsilib.deploy import bench

    bench.main(args.only, save=args.save)


def run_arguments(p):
    p.add_argument("method")
    p.add_argument("--scene", default="indian_pines_8bit")
    p.add_argument("--split", default="disjoint")
    p.add_argument("--ratio", type=int, default=0)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--epochs", type=int)
    p.add_argument(
        "-o", dest="option", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="hyper-parameter"
    )


def parser():
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(prog="python -m hsilib", description=__doc__)
    top.add_argument("--version", action="version", version=f"hsilib {hsilib.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    small = "--ratio 98 --scene synthetic_fields_small --epochs 5"

    def add(function, help, example):
        name = function.__name__.removesuffix("_command")
        epilog = f"example:\n  python -m hsilib {name} {example}"
        p = commands.add_parser(name, help=help, description=help, epilog=epilog, formatter_class=raw)
        p.set_defaults(function=function)
        return p

    p = add(
        scenes_command, "list the scenes, or add your own",
        "--add my_field cube.npy labels.npy --classes wheat,oats"
    )
    p.add_argument(
        "--add",
        nargs="+",
        metavar=("NAME", "FILE"),
        help="NAME CUBE LABELS: two .mat or .npy files; NAME FOLDER: a folder or .zip of images, one folder a class",
    )
    p.add_argument("--skip", action="store_true", help="leave out images that are damaged or not RGB")
    p.add_argument("--cube-key", default="", help="array in the cube's .mat file, if it holds several")
    p.add_argument("--label-key", default="", help="array in the label map's .mat file")
    p.add_argument("--classes", default="", help="class names, separated by commas")

    p = add(methods_command, "list the methods and their hyper-parameters", "--json")
    p.add_argument("--json", action="store_true", help="for programs")

    p = add(
        run_command, "execute a chapter; only what the store lacks is trained",
        "baselines -p scene salinas_a -p seeds 2"
    )
    p.add_argument("chapter", help="name of a chapter (baselines) or path of a notebook (my_method.md)")
    p.add_argument("-p", dest="parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    p.add_argument("--list", action="store_true", help="show the chapter's parameters and stop")

    p = add(study_command, "train what a declared study still lacks; stop and restart at will", "--list")
    p.add_argument("file", nargs="?", help="a study file (default: book/study.toml, what the book holds)")
    p.add_argument("--list", action="store_true", help="say what is missing and what it costs, and stop")
    p.add_argument(
        "--check", type=int, metavar="N", help="train N stored runs anew, drawn by lot, and compare"
    )
    p.add_argument("--device", default="cpu", choices=("cpu", "cuda"))

    p = add(map_command, "class map of a whole scene, as PNG and .npy", f"scratch {small}")
    run_arguments(p)
    p.add_argument("--output", help="path without extension")

    p = add(
        export_command, "one trained network as an ONNX file that classifies raw spectra", f"static {small}"
    )
    run_arguments(p)
    p.add_argument("--output", help="path of the file")

    p = add(
        predict_command, "class map of a scene by an exported file, as PNG and .npy", "model.onnx cube.npy"
    )
    p.add_argument("model", help="a file written by export")
    p.add_argument("scene", help="name of a scene, or a .npy or .mat file with (rows, columns, bands)")
    p.add_argument("--cube-key", default="", help="array in the .mat file, if it holds several")
    p.add_argument("--output", help="path without extension")

    p = add(bench_command, "speed, as ratios within one run", "dense")
    p.add_argument(
        "only", nargs="?", default="all", help="dense, loop, latency, agreement, teaching, images, or all"
    )
    p.add_argument(
        "--save", action="store_true", help="keep the result for the book (book/results/bench.json)"
    )
    return top


def main(arguments=None):
    args = parser().parse_args(arguments)
    try:
        args.function(args)
    except HsiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # the notebook client leaves its task behind
        print("stopped; what was finished is stored, the same command goes on from there", file=sys.stderr)
        return 130
    return 0


def script():
    """The console script ``hsilib``."""
    sys.exit(main())


if __name__ == "__main__":
    script()
