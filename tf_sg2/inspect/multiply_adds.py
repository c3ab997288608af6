"""Counts the multiply-adds of a traced `tf.function` from its graph.

The graph holds forward, backward and second-order operations, so one counter serves the table of
layers and the benchmarks of training. Operations that no result depends on are not counted, because
TensorFlow does not run them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tf_sg2.errors import InputError

CONVOLUTION, FILTERING, MATRIX = "convolution", "filtering", "matrix"

Shape = tuple[int | None, ...]  # None is an unknown size. A shape of unknown rank is None.


@dataclass(frozen=True)
class Row:
    """One operation and its multiply-adds.

    `name` begins with the names of the function calls that contain the operation. `kind` is
    "convolution", "matrix" (dense layers) or "filtering" (depthwise convolutions, used for the
    resampling filters). If `in_loop`, the operation is part of a loop, counted for one pass.
    """

    name: str
    op: str
    kind: str
    multiply_adds: int
    in_loop: bool = False


@dataclass(frozen=True)
class Count:
    """The counted operations of one function."""

    rows: tuple[Row, ...]

    def _sum(self, kind: str) -> int:
        return sum(row.multiply_adds for row in self.rows if row.kind == kind)

    @property
    def convolution(self) -> int:
        """Multiply-adds of convolutions between all channels."""
        return self._sum(CONVOLUTION)

    @property
    def matrix(self) -> int:
        """Multiply-adds of matrix products."""
        return self._sum(MATRIX)

    @property
    def filtering(self) -> int:
        """Multiply-adds of depthwise convolutions and of `upfirdn2d`."""
        return self._sum(FILTERING)

    @property
    def loops(self) -> tuple[str, ...]:
        """Names of the operations in loops, which are counted for one pass only."""
        return tuple(row.name for row in self.rows if row.in_loop)


def count(function: Any) -> Count:
    """Counts a traced function.

    A convolution counts taps x input channels x output channels for each output pixel, padding
    included. A transposed convolution and an input gradient count the same for each input pixel. A
    weight gradient counts the same for each pixel of the output gradient. So the three passes of a
    convolution have equal counts. A native convolution counts like TensorFlow's, although it needs
    fewer multiplications. A conditional counts its more expensive branch, a loop one pass.

    Args:
        function: a ConcreteFunction, traced with static shapes:
            `tf.function(f).get_concrete_function(tf.TensorSpec([8, 64, 64, 3]))`.

    Raises:
        InputError: if the shape of an operation was unknown when the function was traced.
    """
    graph = function.graph.as_graph_def(add_shapes=True)
    library = {entry.signature.name: entry for entry in graph.library.function}
    roots = [tensor.op.name for tensor in function.graph.outputs]
    roots += function.function_def.control_ret.values()
    return Count(tuple(_rows(graph.node, roots, {}, library, "", False)))


def _rows(
    nodes: Sequence[Any],
    roots: Sequence[str],
    arguments: Mapping[str, Shape | None],
    library: Mapping[str, Any],
    prefix: str,
    in_loop: bool,
) -> Iterator[Row]:
    by_name = {node.name: node for node in nodes}
    for node in _needed(by_name, roots):

        def shape_of(index: int, node=node) -> Shape | None:
            return _tensor_shape(_data_inputs(node)[index], by_name, arguments)

        name = prefix + node.name
        if node.op in _COUNTERS:
            kind, counter = _COUNTERS[node.op]
            yield Row(name, node.op, kind, _counted(counter, node, shape_of, name), in_loop)
            continue
        looping = in_loop or node.op in ("While", "StatelessWhile")
        called = [
            list(_body(function, node, shape_of, library, name, looping))
            for function in _called(node)
            if function in library
        ]
        if node.op in ("If", "StatelessIf", "Case", "StatelessCase"):
            called = [max(called, key=lambda rows: sum(row.multiply_adds for row in rows))]
        for rows in called:
            yield from rows


def _needed(by_name: Mapping[str, Any], roots: Sequence[str]) -> list[Any]:
    """Returns the nodes that `roots` depend on, in the order of the graph."""
    seen: set[str] = set()
    waiting = [name for name in roots if name in by_name]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            sources = (text.lstrip("^").split(":")[0] for text in by_name[name].input)
            waiting += [source for source in sources if source in by_name]
    return [node for node in by_name.values() if node.name in seen]


def _called(node: Any) -> Iterator[str]:
    """Yields the names of the functions that a node calls."""
    for key, value in node.attr.items():
        if key.startswith("_"):  # For TensorFlow's own passes, such as the name of the gradient.
            continue
        if value.HasField("func"):
            yield value.func.name
        elif value.HasField("list"):
            yield from (function.name for function in value.list.func)


def _body(
    name: str, node: Any, shape_of: Callable, library: Mapping[str, Any], prefix: str, in_loop: bool
) -> Iterator[Row]:
    body = library[name]
    names = [argument.name for argument in body.signature.input_arg]
    # Conditionals take the predicate before the arguments of the branches.
    first = 1 if node.op in ("If", "StatelessIf", "Case", "StatelessCase") else 0
    inputs = len(_data_inputs(node))
    shapes = [shape_of(first + i) if first + i < inputs else None for i in range(len(names))]
    roots = [text.split(":")[0] for text in (*body.ret.values(), *body.control_ret.values())]
    arguments = dict(zip(names, shapes, strict=True))
    return _rows(body.node_def, roots, arguments, library, f"{prefix}/", in_loop)


def _data_inputs(node: Any) -> list[str]:
    return [text for text in node.input if not text.startswith("^")]


def _tensor_shape(
    text: str, by_name: Mapping[str, Any], arguments: Mapping[str, Shape | None]
) -> Shape | None:
    """Returns the shape of "node", "node:index" (graphs) or "node:output:index" (functions)."""
    name, *rest = text.split(":")
    if name not in by_name:
        return arguments.get(name)
    shapes = by_name[name].attr["_output_shapes"].list.shape
    index = int(rest[-1]) if rest else 0
    if index >= len(shapes) or shapes[index].unknown_rank:
        return None
    return tuple(None if d.size < 0 else d.size for d in shapes[index].dim)


def _counted(counter: Callable, node: Any, shape_of: Callable, name: str) -> int:
    try:
        return counter(node, shape_of)
    except TypeError as error:  # Arithmetic with an unknown size.
        inputs = ", ".join(
            str(None if shape is None else list(shape))
            for shape in map(shape_of, range(len(_data_inputs(node))))
        )
        raise InputError(
            f"the multiply-adds of {name} ({node.op}) cannot be counted: its inputs have shapes "
            f"{inputs}; trace the function with a fixed batch and image size"
        ) from error


def _output_shape(node: Any) -> Any:
    """Returns the shape of the first output; `_counted` reports arithmetic with unknown sizes."""
    return _tensor_shape(node.name, {node.name: node}, {})


def _forward(node: Any, shape_of: Callable) -> int:
    kh, kw, inputs, _ = shape_of(1)  # In a grouped convolution, the inputs of one group.
    return kh * kw * inputs * math.prod(_output_shape(node))


def _input_gradient(node: Any, shape_of: Callable) -> int:
    kh, kw, inputs, _ = shape_of(1)
    return kh * kw * inputs * math.prod(shape_of(2))


def _filter_gradient(node: Any, shape_of: Callable) -> int:
    kh, kw, inputs, _ = _output_shape(node)
    return kh * kw * inputs * math.prod(shape_of(2))


def _native_forward(node: Any, shape_of: Callable) -> int:
    kh, kw, inputs, outputs = shape_of(1)
    return kh * kw * (outputs if node.attr["turned"].b else inputs) * math.prod(_output_shape(node))


def _native_filter_gradient(node: Any, shape_of: Callable) -> int:
    kh, kw, inputs, _ = _output_shape(node)
    return kh * kw * inputs * math.prod(shape_of(1))


def _depthwise_forward(node: Any, shape_of: Callable) -> int:
    return math.prod(shape_of(1)[:2]) * math.prod(_output_shape(node))


def _depthwise_input_gradient(node: Any, shape_of: Callable) -> int:
    return math.prod(shape_of(1)[:2]) * math.prod(shape_of(2))


def _depthwise_filter_gradient(node: Any, shape_of: Callable) -> int:
    return math.prod(_output_shape(node)[:2]) * math.prod(shape_of(2))


def _native_filter(node: Any, shape_of: Callable) -> int:
    """Counts like the depthwise convolution, which skips the zeros between the samples."""
    taps = math.prod(shape_of(1)) * math.prod(_output_shape(node))
    return taps // math.prod(node.attr["up"].list.i)


def _matrix_product(node: Any, shape_of: Callable) -> int:
    transposed = node.attr["transpose_a"].b or node.attr["adj_x"].b
    return shape_of(0)[-2 if transposed else -1] * math.prod(_output_shape(node))


def _einsum(node: Any, shape_of: Callable) -> int:
    operands = node.attr["equation"].s.decode().replace(" ", "").split("->")[0].split(",")
    if len(operands) < 2:  # A transposition or a sum.
        return 0
    sizes: dict[Any, int] = {}
    for position, labels in enumerate(operands):
        shape = shape_of(position)
        before, dots, after = labels.partition("...")
        middle = len(shape) - len(before) - len(after) if dots else 0
        # Axes of the ellipsis are numbered from its end, because they broadcast.
        keys = [*before, *range(-middle, 0), *after]
        for key, size in zip(keys, shape, strict=True):
            sizes[key] = max(sizes.get(key, 1), size)
    return math.prod(sizes.values())


_COUNTERS: dict[str, tuple[str, Callable]] = {
    "Conv2D": (CONVOLUTION, _forward),
    "_FusedConv2D": (CONVOLUTION, _forward),
    "Conv2DBackpropInput": (CONVOLUTION, _input_gradient),
    "Conv2DBackpropFilter": (CONVOLUTION, _filter_gradient),
    "DepthwiseConv2dNative": (FILTERING, _depthwise_forward),
    "DepthwiseConv2dNativeBackpropInput": (FILTERING, _depthwise_input_gradient),
    "DepthwiseConv2dNativeBackpropFilter": (FILTERING, _depthwise_filter_gradient),
    "TfSg2>Conv2d": (CONVOLUTION, _native_forward),
    "TfSg2>Conv2dFilterGradient": (CONVOLUTION, _native_filter_gradient),
    "TfSg2>Upfirdn2d": (FILTERING, _native_filter),
    "MatMul": (MATRIX, _matrix_product),
    "_FusedMatMul": (MATRIX, _matrix_product),
    "BatchMatMul": (MATRIX, _matrix_product),
    "BatchMatMulV2": (MATRIX, _matrix_product),
    "BatchMatMulV3": (MATRIX, _matrix_product),
    "Einsum": (MATRIX, _einsum),
}
