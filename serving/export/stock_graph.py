"""What a stock TensorFlow Serving binary can load: a check of every node that an export holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tf_sg2.errors import InputError

# These call back into the Python process that made them.
PYTHON_OPERATIONS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
# Our native operations; a server has them only if it was built with them.
OUR_NAMESPACE = "TfSg2>"


def check_stock(folder: str | Path) -> list[str]:
    """Returns the names of the operations that a SavedModel uses, sorted.

    The graph and every function of its library are checked.

    Args:
        folder: that holds `saved_model.pb`.

    Raises:
        InputError: for an operation that a stock server lacks, a demand to be compiled by XLA
            (which servers leave off), the NCHW layout (which CPUs lack), or a node that is bound
            to a device.
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
    """Returns the operations of the TensorFlow installed here that any server of it has.

    `tf.raw_ops` was written when TensorFlow was built: a library loaded later adds nothing to it.
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
        if node.device and "CPU:" not in node.device:  # Parts of TensorFlow's saver want a CPU.
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
                f"{where} demands XLA (jit_compile=True), which servers leave off; "
                "build the graph without it"
            )
        if name == "data_format" and value.s.startswith(b"NC"):
            raise InputError(
                f"{where} has the layout {value.s.decode()}, which CPUs lack; build it in NHWC"
            )


def _values(attributes: Any) -> Iterator[tuple[str, Any]]:
    return ((name, attributes[name]) for name in attributes)
