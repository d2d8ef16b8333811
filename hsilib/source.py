"""What code is, as a number: a method from outside the library is another one when its code is another.

The source is read as a syntax tree, so that comments, blanks, docstrings and hints do not count.  With a
function goes all that it reaches outside of this library, of Python's own and of installed packages.  What
cannot be told from another thing of its kind is refused, in one line: such a method is given a ``version=``.
The number is the same in a script, in a notebook, and in another version of Python.
"""

import ast
import builtins
import dis
import functools
import hashlib
import inspect
import linecache
import re
import sys
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hsilib.errors import HsiError

HERE = tuple(str(Path(__file__).parents[1] / name) for name in ("hsilib", "hsibook", "book/hsibook"))
INSTALLED = tuple({sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")})
PLAIN = int, float, complex, str, bytes, bool, type(None), type(...), range, slice, Path
BUILTIN = types.BuiltinFunctionType | types.MethodDescriptorType | types.WrapperDescriptorType
HINTS = "annotation", "returns", "type_comment"
FIRST = {"Recipe": "hsilib.models.train", "Run": "hsilib.study.runs", "Method": "hsilib.registry"}
UNFILLED = types.CellType()  # what a function closes over while it is still being defined
INSTEAD = "give the method a version=, and another one when it changes"


def stamp(what: Any, name: str) -> str:
    """Return eight hexadecimal digits that change with the code ``what`` of the method ``name``.

    >>> stamp(lambda x: x + 1, "mine") == stamp(lambda x: x + 1, "mine")
    True
    """
    text = "\n".join(_tell(what, name, name, {}))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def of_module(name: str) -> str:
    """Return eight hexadecimal digits that change with the code of a module."""
    text = Path(sys.modules[name].__file__).read_text("utf-8")
    return hashlib.sha256(_dump(_parsed(text)).encode()).hexdigest()[:8]


def outside(function: types.FunctionType) -> bool:
    """Tell whether a function was written outside of this library and of installed packages."""
    return not _installed(function.__code__.co_filename)


def _installed(file):
    return file.startswith((*HERE, "<frozen", *INSTALLED)) or "-packages/" in file.replace("\\", "/")


def _library(module):
    """Tell whether the module of this name comes with Python, with a package or with this library."""
    root = module.partition(".")[0]
    if root in (*sys.stdlib_module_names, "hsilib", "hsibook", "builtins"):
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return root != "__main__" and (_installed(file) if file else root not in sys.modules)


def _tell(what, where, name, seen) -> Iterator[str]:
    """Tell line by line what an object is; each is told once.  ``where``: how the method reaches it."""
    if isinstance(what, PLAIN):
        yield f"{type(what).__name__} {what!r}"
        return
    if id(what) in seen:
        yield f"again {seen[id(what)][0]}"
        return
    seen[id(what)] = len(seen), what  # held, or its number could be another's

    def each(parts, named=False):
        for key, part in parts:
            yield from [key] * named
            yield from _tell(part, key, name, seen)

    if isinstance(what, types.ModuleType):
        if _library(what.__name__) or not getattr(what, "__file__", None):
            yield f"module {_once(what.__name__)}"
        else:  # its text, and what it takes from others, which may be the user's
            yield _dump(_parsed(Path(what.__file__).read_text("utf-8")))
            yield from each((key, part) for key, part in sorted(vars(what).items()) if _taken_by(what, part))
    elif isinstance(what, types.FunctionType):
        closed = dict(zip(what.__code__.co_freevars, what.__closure__ or ()))
        closed = {key: cell.cell_contents for key, cell in closed.items() if cell != UNFILLED}
        if outside(what):
            yield from each([(where, what.__defaults__), (where, what.__kwdefaults__)])
            yield from (f"{_dump(node)}[]" for node in _nodes(what, where, name))
            around = closed | _globals(what.__code__, what.__globals__, name)
            around.pop(what.__name__, None)
            yield from each(sorted(around.items()), named=True)
        else:  # a function of this library may have been given others by a decorator
            yield f"function {what.__qualname__}"
            yield from each(closed.items(), named=True) if what.__code__.co_filename.startswith(HERE) else ()
            yield from each([(where, what.__wrapped__)]) if hasattr(what, "__wrapped__") else ()
    elif isinstance(what, type):
        yield f"class {what.__qualname__}"
        if _library(what.__module__):
            yield _once(what.__module__, what.__qualname__)
        else:
            yield " ".join(inspect.get_annotations(what))  # fields of a dataclass, in their order
            yield from each((where, base) for base in what.__bases__)
            members = sorted((key, part) for key, part in vars(what).items() if _written(key, part))
            yield from each(((f"{where}.{key}", part) for key, part in members), named=True)
    elif isinstance(what, functools.partial | types.MethodType | staticmethod | classmethod | property):
        yield f"method {what.__name__}" if isinstance(what, types.MethodType) else type(what).__name__
        kept = ("func", "args", "keywords", "fget", "fset")
        kept = ("__self__",) if isinstance(what, types.MethodType) else (*kept, "__func__")
        yield from each((where, getattr(what, key)) for key in kept if hasattr(what, key))
    elif isinstance(what, BUILTIN):
        yield f"builtin {what.__qualname__}"
    elif isinstance(what, types.GenericAlias | types.UnionType):
        yield repr(what)
    elif callable(what) and inspect.isfunction(getattr(what, "__wrapped__", None)):  # by functools.cache
        yield from each([(where, what.__wrapped__)])
    elif isinstance(what, dict | types.MappingProxyType):
        yield f"{type(what).__name__} of {len(what)}"
        yield from each((f"{where}[{key!r}]", one) for key, part in what.items() for one in (key, part))
    elif isinstance(what, list | tuple):
        yield f"{type(what).__name__} of {len(what)}"
        yield from each((f"{where}[{number}]", part) for number, part in enumerate(what))
    elif isinstance(what, set | frozenset) and all(isinstance(part, PLAIN) for part in what):
        yield f"{type(what).__name__} of {len(what)}"
        yield from sorted(f"{type(part).__name__} {part!r}" for part in what)
    elif hasattr(what, "dtype") and hasattr(what, "shape"):  # a tensor, an array or a number of numpy
        array = what.detach().cpu().numpy() if hasattr(what, "detach") else what
        yield f"array {array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
    elif getattr(what, "__dict__", None) or not _library(type(what).__module__):
        yield "instance"
        yield from each([(where, type(what)), (where, dict(sorted(getattr(what, "__dict__", {}).items())))])
    elif f"{id(what):x}" not in repr(what) and " at 0x" not in repr(what):
        yield repr(what)  # such as a dtype
    else:
        says = f"a {type(what).__name__}, which cannot be told from another one; {INSTEAD}"
        raise HsiError(f"{name} uses {where}, {says}")


def _once(module, name=""):
    """Return where a module or class of this library stood at first, for a stamp outlives a move."""
    if module == "hsilib.identity":
        return FIRST.get(name, module)
    return re.sub(r"^hsibook\b", "hsilib.pages", re.sub(r"^hsilib\.methods\.", "hsilib.", module))


def _taken_by(module, part):
    """Tell whether a module of one's own takes this from another module."""
    other = isinstance(part, types.ModuleType) or getattr(part, "__module__", None)
    return bool(other) and other != module.__name__


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


@functools.lru_cache(64)
def _parsed(text):
    try:
        return ast.parse(text)
    except SyntaxError:  # a cell with commands of IPython
        lines = ("pass" if line.lstrip().startswith(("%", "!")) else line for line in text.splitlines())
        return ast.parse("\n".join(lines))


def _nodes(function, where, name):
    """Find where a function was written; of several lambdas on one line, all."""
    code = function.__code__
    kinds = ast.Lambda if code.co_name == "<lambda>" else ast.FunctionDef | ast.AsyncFunctionDef
    text = "".join(linecache.getlines(code.co_filename, function.__globals__))
    nodes = [node for node in ast.walk(_parsed(text)) if isinstance(node, kinds)] if text else []
    heads = {node: [*getattr(node, "decorator_list", ()), node] for node in nodes}  # its decorators are above
    nodes = [node for node, head in heads.items() if head[0].lineno == code.co_firstlineno]
    if not nodes:
        raise HsiError(f"{name}: {where} has no source to read; {INSTEAD}")
    return nodes


def _dump(node, top=True):
    """Write a syntax tree alike in all versions of Python, without hints, docstrings and empty fields."""
    if isinstance(node, list):
        return f"[{' '.join(_dump(part, False) for part in node)}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = []
    for field, value in ast.iter_fields(node):
        hint = field in HINTS and not isinstance(node, ast.AnnAssign)
        if hint or value is None or value == [] or field == "kind" or top and field == "decorator_list":
            continue  # decorators of a function stand around it
        if field == "body" and isinstance(value, list) and isinstance(value[0], ast.Expr):
            first = value[0].value
            value = value[isinstance(first, ast.Constant) and isinstance(first.value, str) :]
        parts.append(f"{field}={_dump(value, False)}")
    return f"{type(node).__name__}({' '.join(parts)})"
