"""Loads a SavedModel into a session of its own, like TensorFlow Serving's C++ loader.

It loads graph, variables and initialisers, without the Keras and `tf.function` objects around them.
Closing the session frees the memory of one version and does not affect others.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from tf_sg2.errors import InputError

INIT_SIGNATURE = "__saved_model_init_op"
INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")


def _meta_graph(directory: Path) -> meta_graph_pb2.MetaGraphDef:
    path = directory / "saved_model.pb"
    try:
        saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # protobuf's DecodeError has no stable public place.
        raise InputError(f"{path} is no SavedModel: {error}") from error
    for meta_graph in saved_model.meta_graphs:
        if set(meta_graph.meta_info_def.tags) == {"serve"}:
            return meta_graph
    raise InputError(f"{path} has no graph with the tag 'serve'")


def _forget_shapes(meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
    """Allows inputs of any shape, because in the C++ session only operations check shapes.

    Python's session would refuse requests that TensorFlow Serving answers. Its public example feeds
    [3] to an input declared as [?, 1].
    """
    fed = {
        tensor.name.split(":")[0]
        for signature in meta_graph.signature_def.values()
        for tensor in signature.inputs.values()
    }
    for node in meta_graph.graph_def.node:
        node.attr.pop("_output_shapes", None)
        if node.name in fed and "shape" in node.attr:
            node.attr["shape"].shape.Clear()
            node.attr["shape"].shape.unknown_rank = True


class SavedModel:
    """A loaded SavedModel.

    Args:
        directory: a folder with `saved_model.pb`, `variables/` and optionally `assets/`.
        session_config: threads and devices.

    Attributes:
        signatures: name -> SignatureDef, for all signatures in the file.

    Raises:
        InputError: if the directory holds no SavedModel that can be loaded.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        session_config: tf.compat.v1.ConfigProto | None = None,
    ):
        self.directory = Path(directory)
        meta_graph = _meta_graph(self.directory)
        _forget_shapes(meta_graph)
        self.signatures: Mapping[str, meta_graph_pb2.SignatureDef] = dict(meta_graph.signature_def)
        self._graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=self._graph, config=session_config)
        try:
            with self._graph.as_default():
                tf.graph_util.import_graph_def(meta_graph.graph_def, name="")
            self._restore(meta_graph)
        except (ValueError, KeyError, tf.errors.OpError) as error:
            self._session.close()
            message = getattr(error, "message", str(error)).strip().splitlines()[0]
            raise InputError(f"{self.directory} cannot be loaded: {message}") from error

    def _restore(self, meta_graph: meta_graph_pb2.MetaGraphDef) -> None:
        variables = self.directory / "variables" / "variables"
        saver = meta_graph.saver_def
        if saver.restore_op_name and variables.with_suffix(".index").exists():
            self._session.run(
                self._graph.get_operation_by_name(saver.restore_op_name),
                {saver.filename_tensor_name: str(variables)},
            )
        assets = {
            asset.tensor_info.name: str(self.directory / "assets" / asset.filename)
            for asset in meta_graph.asset_file_def
        }
        names = [name for key in INIT_COLLECTIONS for name in _nodes(meta_graph, key)]
        if INIT_SIGNATURE in self.signatures:
            names = [self.signatures[INIT_SIGNATURE].outputs[INIT_SIGNATURE].name]
        for name in names[:1]:
            self._session.run(self._graph.get_operation_by_name(name), assets)

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]
    ) -> list[np.ndarray | bytes]:
        """Computes tensors from tensors, both by their names in the graph.

        Raises:
            tf.errors.OpError: if an operation refuses its inputs.
        """
        return self._session.run(list(fetches), feeds)

    def close(self) -> None:
        """Frees variables and graph. No `run` may be running or follow."""
        self._session.close()
        del self._session, self._graph
        if gc.get_freeze_count():  # The graph has cycles, and frozen objects are never collected.
            gc.unfreeze()
            gc.collect()
            gc.freeze()


def _nodes(meta_graph: meta_graph_pb2.MetaGraphDef, collection: str) -> Sequence[str]:
    return meta_graph.collection_def[collection].node_list.value
