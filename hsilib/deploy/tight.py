"""Generated C that takes less memory: results share places, and each pixel's bands are projected once.

emx-onnx-cgen gives every intermediate result an array of its own, and all of them live at once.  Here each
type has one array, and a result lies in it from the call that writes it to the last that reads it.
"""

import re
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

DECLARED = re.compile(r"    (\w+) (tmp\w+)((?:\[\d+\])+);")
CALLED = re.compile(r"    node\w+\(.*\);")


def places(lives: dict[str, tuple[int, int, int]]) -> dict[str, int]:
    """Give each result a place, {name: (first call, last call, size)} -> {name: where it begins}: the largest
    first, each as low as it can lie beside those that live at the same time.

    >>> places({"a": (0, 1, 8), "b": (1, 2, 4), "c": (2, 3, 8)})
    {'a': 0, 'c': 0, 'b': 8}
    """
    found = {}
    for name, (first, last, size) in sorted(lives.items(), key=lambda one: -one[1][2]):
        beside = [other for other in found if lives[other][0] <= last and first <= lives[other][1]]
        at = 0
        for low, high in sorted((found[other], found[other] + lives[other][2]) for other in beside):
            if at + size <= low:
                break
            at = max(at, high)
        found[name] = at
    return found


def tight(code: str, name: str) -> str:
    """Let the results of a generated function share their memory; code of another form stays as it is."""
    head, start, rest = code.partition(f"\nvoid {name}(")
    ends, _, rest = rest.partition(" {\n")
    body, end, tail = rest.partition("\n}\n")
    lines = body.split("\n")
    results = {found[2]: found for line in lines if (found := DECLARED.fullmatch(line))}
    calls = [line for line in lines if not DECLARED.fullmatch(line)]
    if not results or not all(CALLED.fullmatch(line) for line in calls):
        return code
    used = [re.findall(r"\btmp\w+", line) for line in calls]
    shapes = {result: re.findall(r"\d+", found[3]) for result, found in results.items()}
    arrays, where = [], {}
    for kind in dict.fromkeys(found[1] for found in results.values()):
        lives = {}
        for result in (one for one, found in results.items() if found[1] == kind):
            at = [number for number, names in enumerate(used) if result in names]
            lives[result] = at[0], at[-1], prod(map(int, shapes[result]))
        begins = places(lives)
        most = max(begins[result] + lives[result][2] for result in lives)
        arrays.append(f"    {kind} all_{kind}[{most}];")
        for result, begin in begins.items():
            inner = "".join(f"[{side}]" for side in shapes[result][1:])
            cast = f"({kind} (*){inner})" if inner else ""
            where[result] = f"{cast}(all_{kind} + {begin})"
    calls = [_placed(line, where, head) for line in calls]
    return head + start + ends + " {\n" + "\n".join(arrays + calls) + end + tail


def _placed(line, where, head):
    """Return a call with the places of its results; a pointer to what is only read says so, as C99 asks."""
    function, _, words = line.strip().removesuffix(");").partition("(")
    declared = re.search(rf"\b{function}\(([^)]*)\)", head)
    asked, given = declared[1].split(", ") if declared else [], []
    for number, word in enumerate(words.split(", ")):
        place = re.sub(r"\btmp\w+", lambda found: where[found[0]], word)
        const = re.fullmatch(r"const (\w+) \w+\[\d+\]((?:\[\d+\])+)", "".join(asked[number : number + 1]))
        if const and not word.startswith("weight"):
            place = f"(const {const[1]} (*){const[2]})" + re.sub(r"^\(\w+ \(\*\)[][0-9]+\)", "", place)
        given.append(place)
    return f"    {function}({', '.join(given)});"


def shape(value: "onnx.ValueInfoProto") -> list[int]:
    """Return the sides of a tensor of a graph."""
    return [side.dim_value for side in value.type.tensor_type.shape.dim]


def ends(made: bytes) -> tuple[list[int], list[int]]:
    """Return the shapes of what a graph is given first and of what it gives first."""
    import onnx

    graph = onnx.load_from_string(made).graph
    return shape(graph.input[0]), shape(graph.output[0])


def parts(made: bytes) -> tuple[bytes, bytes] | None:
    """Cut the graph of a network of windows where each pixel's bands have become fewer numbers: what one
    pixel takes, and what a tile of such pixels takes; nothing where no layer does that."""
    import onnx
    from onnx import shape_inference, utils

    model = shape_inference.infer_shapes(onnx.load_from_string(made))
    graph = model.graph
    sides = {value.name: shape(value) for value in [*graph.value_info, *graph.input]}
    bands, cut = sides["cube"][-1], ""
    for node in graph.node:
        if node.op_type == "Transpose" and [*node.attribute[0].ints] == [2, 0, 1]:
            cut = node.input[0]
            break
    if not (1 <= sides.get(cut, [0])[-1] < bands):
        return None
    extractor = utils.Extractor(model)
    pixel, tile = extractor.extract_model(["cube"], [cut]), extractor.extract_model([cut], ["map", "scores"])
    for value, last in ((pixel.graph.input[0], bands), (pixel.graph.output[0], sides[cut][-1])):
        for side, length in zip(value.type.tensor_type.shape.dim, (1, 1, last)):
            side.dim_value = length
    del pixel.graph.value_info[:]  # shapes of the whole cube
    return shape_inference.infer_shapes(pixel).SerializeToString(), tile.SerializeToString()


def apart(code: str) -> str:
    """Give what a generated file defines names of its own, so that it can stand behind another."""
    return re.sub(r"\b(weight\d+_|node\d+_|ref_scalar_)", r"pixel_\1", code)
