"""The command line: ``hsilib COMMAND``, and what words each command takes."""

import argparse
import logging
import re
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import NoReturn

import hsilib
from hsilib import commands
from hsilib.errors import HsiError, starved


def run_arguments(p: argparse.ArgumentParser) -> None:
    """Add the words that name one run."""
    p.add_argument("method")
    p.add_argument("--scene", default="indian_pines_8bit")
    p.add_argument("--split", default="disjoint")
    p.add_argument("--ratio", type=int, default=0)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--epochs", type=int)
    _pairs(p, "-o", "option", help="hyper-parameter")


class Parser(argparse.ArgumentParser):
    """A mistake in the words is one line, with the example of the command."""

    def error(self, message: str) -> NoReturn:
        example = (self.epilog or "").partition("example:\n")[2].strip()
        if "expected 2 arguments" in message:
            message += f": name and value are two words, {'-o width 12' if '-o' in message else '-p seeds 2'}"
        if re.search(r"COMMAND: invalid choice: '(run|chapters|notebooks|new|bench)'", message):
            message = "the chapters are a package of their own: pip install hsibook (in a clone: ./book)"
        told = example and not message.startswith("argument --")  # of other words than these
        self.exit(2, f"error: {message}" + (f"; for example: {example}" if told else "") + "\n")


def _pairs(p, flag, name, **more):
    p.add_argument(flag, dest=name, nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), **more)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, with an example in the help of each command."""
    top = Parser(prog="hsilib", description=__doc__)
    top.add_argument("--version", action="version", version=f"hsilib {hsilib.__version__}")
    subs = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    place = "(default: in results)"
    small = "--ratio 98 --scene synthetic_fields_small --epochs 5"

    def add(function, help, example):
        name = function.__name__.removesuffix("_command")
        epilog = f"example:\n  hsilib {name} {example}"
        form = argparse.RawDescriptionHelpFormatter
        p = subs.add_parser(name, help=help, description=help, epilog=epilog, formatter_class=form)
        p.set_defaults(function=function)
        return p

    example = "--add my_field cube.npy labels.npy --classes wheat,oats"
    p = add(commands.scenes_command, "list the scenes; show, add, check or forget one", example)
    one = p.add_mutually_exclusive_group()
    two_forms = "NAME CUBE LABELS: .npy, .npz, .mat, ENVI or GeoTIFF, labels from polygons too; "
    two_forms += "NAME FOLDER: a folder or .zip of images, one folder a class"
    one.add_argument("--add", nargs="+", metavar=("NAME", "FILE"), help=two_forms)
    one.add_argument("--show", metavar="NAME", help="print what is known of a scene")
    one.add_argument("--remove", metavar="NAME", help="forget a scene of your own; its files stay")
    one.add_argument("--check", metavar="FILE", help="say whether a cube of 16-bit numbers has lost bytes")
    p.add_argument("--repair", metavar="FILE.npy", help="with --check: a copy with what is certain put right")
    p.add_argument("--skip", action="store_true", help="leave out images that are damaged or not RGB")
    p.add_argument("--cube-key", default="", help="array in the cube's file, if it holds several")
    p.add_argument("--label-key", default="", help="array in the label map's file, or attribute of polygons")
    p.add_argument("--classes", default="", help="class names, separated by commas")
    p.add_argument("--train", default="", help="training map: gives the scene a split disjoint")
    p.add_argument("--test", default="", help="test map; without one, all other labelled pixels are tested")
    p.add_argument("--nodata", type=float, help="what pixels without data hold, if the file does not say")

    p = add(commands.methods_command, "list the methods and their hyper-parameters", "--json")
    p.add_argument("--json", action="store_true", help="for programs")

    add(commands.splits_command, "list the divisions into training and test pixels", "")
    what = "train what a declared study still lacks; stop and restart at will"
    p = add(commands.study_command, what, "--list")
    p.add_argument("file", nargs="?", help="a study file (default: book/study.toml, what the book holds)")
    p.add_argument("--list", action="store_true", help="say what is missing and what it costs, and stop")
    p.add_argument("--check", type=int, metavar="N", help="train N stored runs anew, at random, and compare")
    p.add_argument("--jobs", type=int, help="processes that train (default: one a core)")
    p.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    p.add_argument("--on", metavar="ADDRESS", default="", help=commands.ELSEWHERE)
    p.add_argument("--publish", action="store_true", help="keep the rows among the published ones")

    what = "list the runs that are held, published and yours; take over another store"
    p = add(commands.results_command, what, "--merge ../colleague/results")
    one = p.add_mutually_exclusive_group()
    one.add_argument("--merge", metavar="FOLDER", help="take over the rows of another store, and their maps")
    again = "recompute identity and accuracies of rows from somebody else; --page names their method's file"
    one.add_argument("--check", metavar="FOLDER", help=again)
    one.add_argument("--fetch", metavar="SOURCE", help="bring published rows from a checkout or a release")
    one.add_argument("--export", metavar="FILE.csv", help="write all rows into one file")
    one.add_argument("--remove", metavar="METHOD", help="take your rows of a method out, and their maps")
    one.add_argument("--convert", action="store_true", help="make folders of an earlier edition's tables")
    one.add_argument("--publish", metavar="FOLDER", help="take a store into this checkout's published tables")

    p = add(commands.map_command, "class map of a whole scene: PNG, .npy, GeoTIFF", f"scratch {small}")
    run_arguments(p)
    p.add_argument("--output", help=f"path without extension {place}")

    what = "one trained network as an ONNX file that classifies raw spectra"
    p = add(commands.export_command, what, f"static {small}")
    run_arguments(p)
    p.add_argument("--output", help=f"path of the file {place}")
    p.add_argument("--format", choices=("onnx", "c"), default="onnx", help="c: C99, of lines")
    room = "of C: strips of as many columns as go into BYTES of state and stack"
    p.add_argument("--ram", type=int, default=0, metavar="BYTES", help=room)
    sides, once = ("ROWS", "COLUMNS"), "pixels of one call of C that computes in floats"
    p.add_argument("--tile", nargs=2, type=int, default=(1, 32), metavar=sides, help=once)

    what = "class map of a scene by an exported file: PNG, .npy, GeoTIFF"
    p = add(commands.predict_command, what, "model.onnx cube.npy")
    p.add_argument("model", help="a file written by export")
    p.add_argument("scene", help="name of a scene, or a file: .npy, .npz, .mat, ENVI, GeoTIFF")
    p.add_argument("--cube-key", default="", help="array in the file, if it holds several")
    p.add_argument("--output", help=f"path without extension {place}")

    for package in entry_points(group="hsilib.commands"):  # the book's, and those of other packages
        package.load()(subs, add, _pairs)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return its exit code: 2 after a user's mistake, which is told in one line."""
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack a character
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    args = parser().parse_args(arguments)
    try:
        args.function(args)
    except BrokenPipeError:
        return 0
    except (HsiError, OSError) as error:
        named = getattr(error, "filename", None) and error.strerror
        line = f"error: {error.filename}: {error.strerror}" if named else f"error: {error}"
        print("".join(sign if sign.isprintable() else " " for sign in line), file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError, ImportError) as error:
        if not starved(error):
            raise
        print("error: it needs more memory than there is", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # the notebook client leaves its task behind
        print("stopped; what was finished is stored, the same command goes on from there", file=sys.stderr)
        return 130
    return 0


def script() -> None:
    """Run the console script ``hsilib``: what other packages warn of is not the user's business."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    logging.lastResort = None
    sys.exit(main())


if __name__ == "__main__":
    script()
