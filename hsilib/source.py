"""What code is, as a number: a method from outside the library is another one when its code is another.

The source is read as a syntax tree, so that comments, blanks, docstrings and hints do not count.  With a
function goes all that it reaches outside of this library, of Python's own and of installed packages:
functions, classes with their methods and constants, modules, values, what it closes over.  The number is the
same in a script, in a notebook, and in another version of Python.
"""

import ast
import builtins
import functools
import hashlib
import inspect
import linecache
import re
import symtable
import sys
import sysconfig
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hsilib.errors import HsiError

HERE = tuple(str(Path(__file__).parents[1] / name) for name in ("hsilib", "hsibook", "book/hsibook"))
OURS = "hsilib", "hsibook"
INSTALLED = tuple({sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")})
PLAIN = int, float, complex, str, bytes, bool, type(None), type(...), range, slice, Path
BUILTIN = types.BuiltinFunctionType | types.MethodDescriptorType | types.WrapperDescriptorType
INSTEAD = "give the method a version=, and another one when it changes"
HINTS = "annotation", "returns", "type_comment"
FIRST = {"Recipe": "hsilib.models.train", "Run": "hsilib.study.runs", "Method": "hsilib.registry"}


def stamp(what: Any, name: str) -> str:
    """Return eight hexadecimal digits that change with the code ``what`` of the method ``name``.

    >>> stamp(lambda x: x + 1, "mine") == stamp(lambda x: x + 1, "mine")
    True
    """
    text = "\n".join(_Reader(name).tell(what, name))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def outside(function: types.FunctionType) -> bool:
    """Tell whether a function was written outside of this library and of installed packages."""
    return not _known(function.__code__.co_filename)


def _known(file):
    return file.startswith((*HERE, "<frozen", *INSTALLED)) or "-packages/" in file.replace("\\", "/")


def _library(module):
    """Tell whether the module of this name comes with Python, with a package or with this library."""
    root = module.partition(".")[0]
    if root in (*sys.stdlib_module_names, *OURS, "builtins"):
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return root != "__main__" and (_known(file) if file else root not in sys.modules)


def _once(module, name=""):
    """Return where a module or class of this library stood at first, for a stamp outlives a move."""
    if module == "hsilib.identity":
        return FIRST.get(name, module)
    return re.sub(r"^hsibook\b", "hsilib.pages", re.sub(r"^hsilib\.methods\.", "hsilib.", module))


class _Reader:
    """Tells line by line what an object is; each is told once."""

    def __init__(self, name: str) -> None:
        self.name, self.seen = name, {}

    def tell(self, what: Any, where: str) -> Iterator[str]:
        if isinstance(what, PLAIN):
            yield f"{type(what).__name__} {what!r}"
        elif id(what) in self.seen:
            yield f"again {self.seen[id(what)][0]}"
        else:
            self.seen[id(what)] = len(self.seen), what  # held, or its number could be another's
            yield from self._new(what, where)

    def _new(self, what, where):
        if isinstance(what, types.ModuleType):
            yield from self._module(what, where)
        elif isinstance(what, types.FunctionType):
            yield from self._function(what, where)
        elif isinstance(what, functools.partial):
            yield "partial"
            for part in (what.func, what.args, what.keywords):
                yield from self.tell(part, where)
        elif isinstance(what, types.MethodType):
            yield f"method {what.__name__}"
            yield from self.tell(what.__self__, where)
        elif isinstance(what, BUILTIN):
            yield f"builtin {what.__qualname__}"
        elif isinstance(what, types.GenericAlias | types.UnionType):
            yield repr(what)
        elif callable(what) and inspect.isfunction(getattr(what, "__wrapped__", None)):  # by functools.cache
            yield from self.tell(what.__wrapped__, where)
        elif isinstance(what, type):
            yield from self._class(what, where)
        elif isinstance(what, dict | types.MappingProxyType):
            yield f"{type(what).__name__} of {len(what)}"
            for key, value in what.items():
                yield from self.tell(key, where)
                yield from self.tell(value, f"{where}[{key!r}]")
        elif isinstance(what, set | frozenset):
            yield f"{type(what).__name__} of {len(what)}"
            yield from sorted("".join(self.tell(part, where)) for part in what)
        elif isinstance(what, list | tuple):
            yield f"{type(what).__name__} of {len(what)}"
            for number, part in enumerate(what):
                yield from self.tell(part, f"{where}[{number}]")
        elif hasattr(what, "dtype") and hasattr(what, "shape"):  # a tensor, an array or a number of numpy
            array = what.detach().cpu().numpy() if hasattr(what, "detach") else what
            yield f"array {array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
        elif _library(type(what).__module__) and not getattr(what, "__dict__", None) and _steady(what):
            yield repr(what)
        elif hasattr(what, "__dict__") and (vars(what) or not _library(type(what).__module__)):
            yield "instance"
            yield from self.tell(type(what), where)
            yield from self.tell(dict(sorted(vars(what).items())), where)
        else:
            kind = type(what).__name__
            says = f"which cannot be told from another one; {INSTEAD}"
            raise HsiError(f"{self.name} uses {where}, a {kind}, {says}")

    def _module(self, module, where):
        if _library(module.__name__) or not getattr(module, "__file__", None):
            yield f"module {_once(module.__name__)}"
            return
        yield _dump(ast.parse(Path(module.__file__).read_text()))
        for name, value in sorted(vars(module).items()):  # what it takes from others, which may be the user's
            other = isinstance(value, types.ModuleType) or getattr(value, "__module__", None)
            if not name.startswith("__") and other and other != module.__name__:
                yield from self.tell(value, f"{where}.{name}")

    def _function(self, function, where):
        code = function.__code__
        closed = dict(zip(code.co_freevars, function.__closure__ or ()))
        if not outside(function):
            yield f"function {function.__qualname__}"
            for name, cell in closed.items() if code.co_filename.startswith(HERE) else ():
                yield from self._cell(cell, name)  # what a decorator of this library was given
            if hasattr(function, "__wrapped__"):  # such as by no_grad
                yield from self.tell(function.__wrapped__, where)
            return
        nodes = self._written(function, where)
        for part in (function.__defaults__, function.__kwdefaults__):
            yield from self.tell(part, where)
        for node in nodes:
            yield from self._code(node, function.__globals__, closed)

    def _cell(self, cell, name):
        try:
            value = cell.cell_contents
        except ValueError:  # not filled yet
            return
        yield name
        yield from self.tell(value, name)

    def _code(self, node, space, closed):
        """Tell a piece of code, and what the names are that it takes from around it."""
        decorators = getattr(node, "decorator_list", ()) if isinstance(node, ast.ClassDef) else ()
        decorators = [d for d in decorators if _at_hand(d, space)]  # those of a function are around it
        yield _dump(node) + _dump(decorators)
        for name in sorted(_free(node, decorators)):
            if name in closed:
                yield from self._cell(closed[name], name)
            elif name in space:
                yield name
                yield from self.tell(space[name], name)
            elif not hasattr(builtins, name):
                says = "which is not defined yet: define it before the method, or give the method a version="
                raise HsiError(f"{self.name} uses {name}, {says}")

    def _class(self, cls, where):
        yield f"class {cls.__qualname__}"
        if _library(cls.__module__):
            yield _once(cls.__module__, cls.__qualname__)
            return
        for base in cls.__bases__:
            yield from self.tell(base, where)
        members = [v for v in vars(cls).values() if isinstance(v, types.FunctionType)]
        node = _find_class(cls, members)
        if node is not None:
            space = next((m.__globals__ for m in members), vars(sys.modules.get(cls.__module__, builtins)))
            closed = {k: v for m in members for k, v in zip(m.__code__.co_freevars, m.__closure__ or ())}
            yield from self._code(node, space | {cls.__name__: cls}, closed)
            return
        for key, value in sorted(vars(cls).items()):  # without source, such as made by a function
            if not key.startswith("__") or key == "__annotations__":
                yield key
                yield from self.tell(value, f"{where}.{key}")

    def _written(self, function, where):
        """Find where a function was written; of several lambdas on one line, all."""
        code = function.__code__
        kinds = ast.Lambda if code.co_name == "<lambda>" else ast.FunctionDef | ast.AsyncFunctionDef
        found, inner = [], set()
        for node in _nodes(function):
            name = getattr(node, "name", "<lambda>")
            if isinstance(node, kinds) and node not in inner and name == code.co_name:
                first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
                if first == code.co_firstlineno:
                    found.append(node)
                    inner.update(ast.walk(node))
        if not found:
            raise HsiError(f"{self.name}: {where} has no source to read; {INSTEAD}")
        return found


def _steady(what):
    """Tell whether what an object shows of itself says all of it, and not where it lies in memory."""
    shown = repr(what)
    return f"{id(what):x}" not in shown and " at 0x" not in shown


@functools.lru_cache(64)
def _parsed(text):
    try:
        return ast.parse(text)
    except SyntaxError:  # a cell with commands of IPython
        lines = ("pass" if line.lstrip().startswith(("%", "!")) else line for line in text.splitlines())
        return ast.parse("\n".join(lines))


def _nodes(function):
    """Return all pieces of the file or cell in which a function was written."""
    text = "".join(linecache.getlines(function.__code__.co_filename, function.__globals__))
    return ast.walk(_parsed(text)) if text else ()


def _find_class(cls, members):
    """Find where a class was written, by one of its methods, or else by what ``inspect`` finds."""
    for member in members:
        for node in _nodes(member):
            inside = isinstance(node, ast.ClassDef) and node.name == cls.__name__
            if inside and node.lineno <= member.__code__.co_firstlineno <= node.end_lineno:
                return node
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError, SyntaxError):
        pass
    for file in reversed(list(linecache.cache)):  # cells of a notebook, the last first
        if cls.__module__ == "__main__" and not Path(file).is_file():
            for node in ast.walk(_parsed("".join(linecache.getlines(file)))):
                if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
                    return node
    return None


def _at_hand(decorator, space):
    """Tell whether a decorator can be read, and is none of this library, whose words are told otherwise."""
    while not isinstance(decorator, ast.Name):
        decorator = getattr(decorator, "func", None) or getattr(decorator, "value", None)
        if decorator is None:
            return False
    found = space.get(decorator.id)
    module = getattr(found, "__module__", None) or getattr(found, "__name__", "")
    return found is not None and not module.startswith(OURS)


def _free(node, decorators=()):
    """Return the names that a piece of code takes from around it."""
    bare = ast.parse(ast.unparse(node)).body[0]
    for part in ast.walk(bare):
        if isinstance(part, ast.arguments):  # what they are by default is told as values
            part.defaults, part.kw_defaults = [], [None] * len(part.kwonlyargs)
        elif isinstance(part, ast.AnnAssign):
            part.annotation = ast.Constant(None)
        elif isinstance(part, ast.arg):
            part.annotation = None
        elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            part.returns = None
    if hasattr(bare, "decorator_list"):
        bare.decorator_list = list(decorators)
    tables = [symtable.symtable(ast.unparse(ast.fix_missing_locations(bare)), "code", "exec")]
    found = set()
    for table in tables:
        tables += table.get_children()
        outer = str(table.get_type()).endswith("module")
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (symbol.is_global() or outer and not symbol.is_assigned()):
                found.add(symbol.get_name())
    return found - {getattr(node, "name", "")}


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
            continue
        if field == "body" and isinstance(value, list) and value and _is_text(value[0]):
            value = value[1:]
        parts.append(f"{field}={_dump(value, False)}")
    return f"{type(node).__name__}({' '.join(parts)})"


def _is_text(node):
    return isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str)
