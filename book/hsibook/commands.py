"""The book's words of the command line, which the package registers as an entry point."""

import argparse
import io
import linecache
import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

from hsilib.commands import ELSEWHERE, value
from hsilib.errors import HsiError, reason
from hsilib.files import outside, project

LONG = 3600  # seconds of training above which a terminal has to be told -y
REGISTERS = r"^@(?:hsilib\.)?(?:network|distillation|criterion|quantization|method)\("


def run_command(args: Namespace) -> None:
    """Execute chapters, and render a page for each that is not the book's."""
    from hsibook import rendered, runner
    from hsilib.study import machine
    from hsilib.study.store import published

    runner.needs()
    if args.list:
        for name, (default, comment) in runner.parameters_of(args.chapter[0]).items():
            print(f"{name:12} {default!r:40} {comment}")
        return
    args.most = LONG if sys.stdin.isatty() and not args.yes else 0
    machine.TRAINING |= {name: getattr(args, name) or usual for name, usual in machine.TRAINING.items()}
    given = {name: value(text) for name, text in args.parameter}
    if published() is None and "HSILIB_PUBLISHED" not in os.environ and given.get("budget") != "smoke":
        print("no published runs here: `hsilib results --fetch` brings them from a checkout or a release")
    for path in runner.run_all(args.chapter, given):
        if path.parent != project() / "book" / "chapters":
            print(f"page: {os.path.relpath(rendered.render(path))}")


def new_command(args: Namespace) -> None:
    """Make a page for something of your own, or take it out again."""
    from hsibook.new import new, remove

    if args.remove:
        kept, rows = remove(args.name), f"hsilib results --remove {args.name.replace('-', '_')}"
        where = f"its source is kept in {os.path.relpath(kept)}; " if kept.is_file() else ""
        print(f"{args.name}: no page of the book any more; {where}its rows go with {rows}")
        return
    path = new(args.name, args.kind)
    if path.is_absolute():
        short, where = path.stem.split("-", 1)[1], ", and its place in _toc.yml"
    else:
        short, where = path.name, ""
    print(f"{os.path.relpath(path)}{where}; next: hsilib run {short}")


def chapters_command(args: Namespace) -> None:
    """List the chapters; refuse a table of contents that does not fit them."""
    from hsibook import runner

    for name, path in runner.chapters().items():
        print(f"{name:18} {runner.title_of(path)}")
    runner.check_contents()


def notebooks_command(args: Namespace) -> None:
    """Write the chapters as ordinary notebooks."""
    from hsibook import runner

    runner.needs()
    for path in runner.notebooks(args.folder):
        print(os.path.relpath(path))


def bench_command(args: Namespace) -> None:
    """Measure speed."""
    if not (project() / "book" / "bench").is_dir():
        says = "no checkout of the book, which has the benchmarks; HSILIB_PROJECT names one"
        raise HsiError(f"{project()}: {says}")
    sys.path.insert(0, str(project() / "book"))
    from bench import bench

    bench.main(args.only, save=args.save)


def methods_of(page: Path) -> None:
    """Register the methods that a page or a script writes: its cells that register, or the whole script."""
    import jupytext

    try:
        text, names = outside(page, 10_000_000).decode(), {"__name__": "__main__"}
        cells = [text]
        if page.suffix != ".py":
            cells = [cell.source for cell in jupytext.reads(text, fmt=page.suffix.lstrip(".")).cells]
        cells = [cell for cell in cells if re.search(REGISTERS, cell, re.M)]
        for number, cell in enumerate(cells):
            file = f"<cell {number} of {page.name}>"  # at hand, for a method is its source
            linecache.cache[file] = (len(cell), None, cell.splitlines(True), file)
            with redirect_stdout(io.StringIO()):
                exec(compile(cell, file, "exec"), names)
    except (HsiError, KeyboardInterrupt):
        raise
    except BaseException as error:  # an exit too, and whatever the parser meets
        raise HsiError(f"{page}: no page with a method ({type(error).__name__}: {reason(error)})") from None
    if not cells:
        raise HsiError(f"{page}: no cell registers a method")


def with_page(function: Callable, args: Namespace) -> None:
    """Run a command after the methods that are written in a page are registered."""
    if args.page:
        from hsibook.runner import chapters

        methods_of(Path(chapters().get(args.page, args.page)))
    function(args)


def register(subs: argparse._SubParsersAction, add: Callable, pairs: Callable) -> None:
    """Add the words of the book to those of the library, and to these what they take from a page."""
    example = "baselines -p scene salinas_a -p seeds 2"
    p = add(run_command, "execute chapters; only what the store lacks is trained", example)
    what = "name of a chapter (baselines) or path of a notebook (my_method.md)"
    p.add_argument("chapter", nargs="+", help=what)
    pairs(p, "-p", "parameter")
    p.add_argument("--list", action="store_true", help="show the chapter's parameters and stop")
    p.add_argument("-y", "--yes", action="store_true", help="also train for more than an hour")
    p.add_argument("--jobs", type=int, help="processes that train (default: one a core)")
    p.add_argument("--device", choices=("cpu", "cuda"), help="where they train")
    p.add_argument("--on", metavar="ADDRESS", help=ELSEWHERE)

    add(chapters_command, "list the chapters", "")
    what = "the chapters as ordinary notebooks, for Jupyter and papermill"
    p = add(notebooks_command, what, "my-notebooks")
    p.add_argument("folder", help="where they go")
    p = add(new_command, "a page for something of your own", "my_loss --kind distillation")
    p.add_argument("name", help="what it is called, such as my_loss")
    kinds = "distillation, criterion, network, quantization, or chapter: of methods that are there"
    p.add_argument("--kind", default="distillation", help=kinds)
    p.add_argument("--remove", action="store_true", help="take a page of yours out of the book again")

    p = add(bench_command, "speed, as ratios within one run", "dense")
    choices = "dense, loop, latency, agreement, teaching, rates, scale, or all"
    p.add_argument("only", nargs="?", default="all", help=choices)
    keep = "keep the result, which your pages then show (results/bench.json)"
    p.add_argument("--save", action="store_true", help=keep)

    for name in ("map", "export", "results"):
        p = subs.choices[name]
        p.add_argument("--page", metavar="FILE", help="chapter or file in which the method is written")
        p.set_defaults(function=partial(with_page, p.get_default("function")))
