"""Checks that an unmodified TensorFlow Serving binary can load every node of an export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tf_sg2.errors import InputError

# They call the Python process that created them.
PYTHON_OPERATIONS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
# Our native operations, which no released server contains.
OUR_NAMESPACE = "TfSg2>"


def check_stock(folder: str | Path) -> list[str]:
    """Returns the names of the operations in a SavedModel, sorted.

    It checks the graph and all functions of its library.

    Args:
        folder: the folder with `saved_model.pb`.

    Raises:
        InputError: for an operation that a stock server lacks, forced XLA compilation (servers
            have no XLA), NCHW layout (CPUs lack it), or a node that is bound to a device.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    model.ParseFromString((Path(folder) / "saved_model.pb").read_bytes())
    found: set[str] = set()
    for meta_graph in model.meta_graphs:
        library = meta_graph.graph_def.library
        _check_nodes(meta_graph.graph_def.node, "the graph", library, found)
        for function in library.function:
            where = f"function {function.signature.name}"
            _check_attributes(function.attr, where)
            _check_nodes(function.node_def, where, library, found)
    return sorted(found)


def stock_operations() -> frozenset[str]:
    """Returns the operations that every server of the installed TensorFlow version has.

    `tf.raw_ops` was generated when TensorFlow was built, so it contains no library loaded later.
    """
    import tensorflow as tf

    return frozenset(name for name in dir(tf.raw_ops) if name[0].isalpha()) - PYTHON_OPERATIONS


def _check_nodes(nodes: Any, where: str, library: Any, found: set[str]) -> None:
    stock = stock_operations()
    functions = {function.signature.name for function in library.function}
    for node in nodes:
        if node.op in functions:
            continue
        if node.op.startswith(OUR_NAMESPACE) or node.op not in stock:
            raise InputError(
                f"node {node.name} of {where} is {node.op}, which a stock server does not have; "
                'build the graph under tf_sg2.ops.use_implementation("tensorflow")'
            )
        if node.device and "CPU:" not in node.device:  # TensorFlow's saver binds nodes to a CPU.
            raise InputError(
                f"node {node.name} of {where} is bound to {node.device}, which a server may not "
                "have; build the graph outside any tf.device"
            )
        _check_attributes(node.attr, f"node {node.name} of {where}")
        found.add(node.op)


def _check_attributes(attributes: Any, where: str) -> None:
    for name, value in _values(attributes):
        if name.startswith("_XlaMustCompile") and value.b:
            raise InputError(
                f"{where} requires XLA (jit_compile=True), which servers do not have; "
                "build the graph without it"
            )
        if name == "data_format" and value.s.startswith(b"NC"):
            raise InputError(
                f"{where} has the layout {value.s.decode()}, which CPUs lack; build it in NHWC"
            )


def _values(attributes: Any) -> Iterator[tuple[str, Any]]:
    return ((name, attributes[name]) for name in attributes)
