"""What is looked at in an ONNX file before an engine opens it: it may come from somebody else.

The file is read as Protocol Buffers are written, without the package onnx: a field is a number and a kind,
then a whole number or so many bytes.  Refused are operators that are not on the list, graphs within graphs
(loops, branches), functions, weights that lie in other files, and tensors larger than the file.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hsilib.errors import HsiError, reason

MOST = 100_000_000  # bytes of a file: the largest network of the study takes 2 million
# none of them draws numbers, reads a file or runs a graph of its own
OPERATORS = set(
    "Abs Add ArgMax AveragePool BatchNormalization Cast Clip Concat Constant ConstantOfShape Conv "
    "ConvInteger DequantizeLinear Div DynamicQuantizeLinear Elu Equal Erf Exp Flatten Floor Gather Gemm "
    "GRU GlobalAveragePool GlobalMaxPool Greater HardSigmoid HardSwish Identity InstanceNormalization LSTM "
    "LayerNormalization LeakyRelu Less Log LogSoftmax MatMul MatMulInteger Max MaxPool Mean Min Mul Neg Pad "
    "Pow PRelu QuantizeLinear Reciprocal ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Round Selu "
    "Shape Sigmoid Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze Where".split()
)


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a message: (number, whole number or bytes)."""
    place = 0
    while place < len(data):
        key, start = _whole(data, place)
        if start - place > 5 or key >= 1 << 32:
            raise ValueError("a field that there is not")
        place = start
        kind = key & 7
        size, start = _whole(data, place) if kind in (0, 2) else ({1: 8, 5: 4}[kind], place)
        if kind == 0:
            yield key >> 3, size
            place = start
            continue
        place = start + size
        if place > len(data):
            raise ValueError("it is cut off")
        yield key >> 3, data[start:place]


def _whole(data, place):
    """The whole number that begins at a place, seven bits a byte, and the place behind it."""
    value = shift = 0
    while shift < 70:
        value |= (data[place] & 127) << shift
        place, shift = place + 1, shift + 7
        if data[place - 1] < 128:
            return value, place
    raise ValueError("a number does not end")


def vet(data: bytes, name: str) -> None:
    """Refuse a file that is not as this library writes one.  The numbers are those of onnx.proto."""
    if len(data) > MOST:
        raise HsiError(f"{name}: {len(data):,} bytes, more than a network for small machines should have")
    try:
        says = _model(data)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        says = f"not an ONNX file that can be run, or cut off ({reason(error)})"
    if says:
        raise HsiError(f"{name}: {says}")


def _model(data):
    graph = None
    for number, value in fields(data):
        if number in (20, 25):
            return "it trains, or has functions of its own, which a file of this library has not"
        if number == 7 and graph is not None:
            return "it has two graphs, which an engine would make one"
        if number == 7:
            graph = value
    if graph is None:
        return "not an ONNX file that can be run, or cut off (it has no graph)"
    for number, value in fields(graph):
        says = _node(value) if number == 1 else _tensor(value) if number == 5 else ""
        if number == 15:
            says = "it has sparse tensors, which a file of this library has not"
        if says:
            return says
    return ""


def _node(data):
    for number, value in fields(data):
        if number == 4 and value.decode() not in OPERATORS:
            return f"operator {value.decode()!r:.40} is not one of those that `export` writes"
        if number == 7 and value not in (b"", b"ai.onnx"):
            return f"operators of {value.decode()!r:.40} are not those that `export` writes"
        if number == 5:
            for part, held in fields(value):
                if part in (6, 11):
                    return "it has a graph within the graph (a loop or a branch)"
                if part in (22, 23):
                    return "it has sparse tensors, which a file of this library has not"
                if part in (5, 10) and (says := _tensor(held)):
                    return says
    return ""


def _tensor(data):
    count = 1
    for number, value in fields(data):
        if number == 13 or number == 14 and value:
            return "its weights lie in another file"
        if number == 1:  # its sizes: one, or all of them in one field
            sizes, place = [value] if isinstance(value, int) else [], 0
            while isinstance(value, bytes) and place < len(value):
                size, place = _whole(value, place)
                sizes.append(size)
            for size in sizes:
                count *= size
    return "a tensor is larger than such a file" if count > MOST else ""


@contextmanager
def bounded(most: float) -> Iterator[None]:
    """Let this process take so many bytes more at most, where the system can hold it to that (Linux)."""
    if sys.platform != "linux":
        yield
        return
    import resource

    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = now + int(most)
    if soft != resource.RLIM_INFINITY and soft < limit:  # it is held to less already
        yield
        return
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
