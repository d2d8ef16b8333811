"""What code is, as a number: a method from outside the library is another one when its code is another.

The source is read as a syntax tree, so that comments, blanks, docstrings and hints do not count.  With a
function goes all that it reaches outside of this library, of Python's own and of installed packages, whose
things are told by their names.  What cannot be told from another thing of its kind is refused, in one line:
such a method is given a ``version=``.  The number is the same in a script, a notebook, and another Python.
"""

import ast
import builtins
import copyreg
import dis
import hashlib
import inspect
import sys
import sysconfig
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hsilib.errors import HsiError

HERE = tuple(str(Path(__file__).parents[1] / name) for name in ("hsilib", "hsibook", "book/hsibook"))
INSTALLED = tuple({sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")})
PLAIN = int, float, complex, str, bytes, bool, type(None), type(...), range, slice, Path
HINTS = "annotation", "returns"
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
UNFILLED = types.CellType()  # what a function closes over while it is still being defined
INSTEAD = "give the method a version=, and another one when it changes"


def stamp(what: Any, name: str) -> str:
    """Return eight hexadecimal digits that change with the code ``what`` of the method ``name``."""
    text = "\n".join(_tell(what, name, name, {}))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _tell(what, where, name, seen) -> Iterator[str]:
    """Tell line by line what an object is; each is told once.  ``where``: how the method reaches it."""
    if isinstance(what, PLAIN):
        yield f"{type(what).__name__} {what!r}"
    elif id(what) in seen:
        yield f"again {seen[id(what)][0]}"
    else:
        seen[id(what)] = len(seen), what  # held, or its number could be another's
        says, parts = _parts(what, where, name)
        yield says
        for key, part in parts:
            yield from _tell(part, key, name, seen)


def _parts(what, where, name):
    """Return what is said of an object itself, and its parts, each with how the method reaches it."""
    if isinstance(what, types.ModuleType):
        if _library(what.__name__) or not getattr(what, "__file__", None):
            return f"module {what.__name__.rpartition('.')[2]}", []
        taken = {key: part for key, part in vars(what).items() if not key.startswith("__")}
        taken = {key: part for key, part in taken.items() if _module(part) not in (None, what.__name__)}
        return _dump(ast.parse(Path(what.__file__).read_text())), sorted(taken.items())
    if isinstance(what, types.FunctionType):
        cells = zip(what.__code__.co_freevars, what.__closure__ or ())
        closed = {key: cell.cell_contents for key, cell in cells if cell != UNFILLED}
        if _installed(what.__code__.co_filename):  # it may have been given others by a decorator
            given = [(where, what.__wrapped__)] if hasattr(what, "__wrapped__") else []
            ours = what.__code__.co_filename.startswith(HERE)
            return f"function {what.__qualname__}", [*given, *(closed.items() if ours else [])]
        around = sorted((closed | _globals(what.__code__, what.__globals__, name)).items())
        text = " ".join([_source(what, where, name), *(key for key, _ in around)])
        return text, [(where, what.__defaults__), (where, what.__kwdefaults__), *around]
    if isinstance(what, type):
        if _library(what.__module__):
            return f"class {what.__qualname__}", []
        members = sorted((key, part) for key, part in vars(what).items() if _written(key, part))
        fields = [*inspect.get_annotations(what), *(key for key, _ in members)]
        parts = [(f"{where}.{key}", part) for key, part in members]
        return f"class {what.__qualname__} {fields}", [*((where, base) for base in what.__bases__), *parts]
    if isinstance(what, dict):
        pairs = ((f"{where}[{key!r}]", one) for key, part in what.items() for one in (key, part))
        return f"dict of {len(what)}", pairs
    if isinstance(what, list | tuple | set | frozenset):
        order = sorted(what, key=repr) if isinstance(what, set | frozenset) else what
        return f"{type(what).__name__} of {len(what)}", ((f"{where}[{i}]", one) for i, one in enumerate(order))
    if hasattr(what, "dtype") and (hasattr(what, "detach") or hasattr(what, "tobytes")):  # a tensor, an array
        array = what.detach().cpu().numpy() if hasattr(what, "detach") else what
        return f"array {array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}", []
    if isinstance(what, property):
        return "property", [(where, what.fget), (where, what.fset)]
    if hasattr(what, "__wrapped__"):  # by functools.cache; staticmethod, classmethod
        return type(what).__name__, [(where, what.__wrapped__)]
    try:  # as pickle does: of an instance its class and what it holds, of a method also what it is bound to
        made = copyreg.dispatch_table.get(type(what), lambda what: what.__reduce_ex__(2))(what)
    except Exception:
        says = f"a {type(what).__name__}, which cannot be told from another one; {INSTEAD}"
        raise HsiError(f"{name} uses {where}, {says}") from None
    made = (made,) if isinstance(made, str) else made
    return type(what).__name__, [(where, list(p) if isinstance(p, Iterator) else p) for p in made]


def _installed(file):
    return file.startswith((*HERE, "<frozen", *INSTALLED)) or "-packages/" in file.replace("\\", "/")


def _library(module):
    """Tell whether the module of this name comes with Python, with a package or with this library."""
    root = module.partition(".")[0]
    if root in (*sys.stdlib_module_names, "hsilib", "hsibook", "builtins"):
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return root != "__main__" and (_installed(file) if file else root not in sys.modules)


def _module(part):
    return part.__name__ if isinstance(part, types.ModuleType) else getattr(part, "__module__", None)


def _written(key, member):
    """Tell whether a member of a class was written there, and not made by Python or by ``dataclass``."""
    if isinstance(member, types.FunctionType) and key.startswith("__"):
        file = inspect.unwrap(member).__code__.co_filename
        return file != "<string>" and not _installed(file)
    return not key.startswith(("__", "_abc"))


def _globals(code, space, name):
    """Return what a piece of code takes from its module, by name."""
    found = {}
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval in space:
            found[step.argval] = space[step.argval]
        elif step.opname == "LOAD_GLOBAL" and not hasattr(builtins, step.argval):
            says = "which is not defined yet: define it before the method, or give the method a version="
            raise HsiError(f"{name} uses {step.argval}, {says}")
    for part in code.co_consts:
        found |= _globals(part, space, name) if isinstance(part, types.CodeType) else {}
    return found


def _source(function, where, name):
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except OSError:
        raise HsiError(f"{name}: {where} has no source to read; {INSTEAD}") from None
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a lambda in the middle of a statement
        return text
    tree.body[0].decorator_list = []  # they stand around it
    return _dump(tree)


def _dump(tree):
    """Write a syntax tree alike in all versions of Python, without hints, docstrings and empty fields."""
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
        for field, value in list(ast.iter_fields(node)):
            hint = field in HINTS and not isinstance(node, ast.AnnAssign)
            if hint or value == [] or field == "kind":
                delattr(node, field)
    return ast.dump(tree)
