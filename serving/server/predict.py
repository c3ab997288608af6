"""What gRPC and REST share: a model with its signatures, and one request run on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from tf_sg2.serving.server.batching import Batcher
from tf_sg2.serving.server.configuration import BatchingParameters
from tf_sg2.serving.server.metrics import Metrics
from tf_sg2.serving.server.models import Lease, Models
from tf_sg2.serving.server.saved_model import SavedModel
from tf_sg2.serving.server.status import ServingError, from_exception, invalid_argument
from tf_sg2.serving.server.tensors import type_name

DEFAULT_SIGNATURE = "serving_default"
Signature = meta_graph_pb2.SignatureDef


class Predictor:
    """Runs requests on models.

    Args:
        metrics: told of each request.
        batching: None runs every request alone.
        poll_seconds: how often the models' folders are looked at; 0 looks once.
    """

    def __init__(self, metrics: Metrics, batching: BatchingParameters | None, poll_seconds: float):
        self.metrics, self._batching = metrics, batching
        self.models = Models(_load, metrics, poll_seconds)
        self._batcher = Batcher(batching.num_batch_threads if batching else 1, metrics)

    def predict(
        self,
        lease: Lease,
        name: str,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        timeout: float,
        api: str,
    ) -> dict[str, np.ndarray]:
        """Outputs by alias. The lease is given back when nothing of the request runs any more.

        Raises:
            ServingError: what is wrong with the request, or DEADLINE_EXCEEDED after `timeout` s.
        """
        started = time.monotonic()
        status = "OK"
        try:
            return self._submit(lease, name, signature, inputs).result(timeout)
        except BaseException as error:
            failure = from_exception(error)
            status = failure.code
            raise failure from error
        finally:
            self.metrics.request_count.add(lease.name, status)
            self.metrics.request_latency.observe(
                lease.name, api, "Predict", value=1e6 * (time.monotonic() - started)
            )

    def _submit(
        self, lease: Lease, name: str, signature: Signature, inputs: Mapping[str, np.ndarray]
    ) -> Future[dict[str, np.ndarray]]:
        try:
            for key, array in inputs.items():
                wanted = tf.dtypes.as_dtype(signature.inputs[key].dtype)
                given = tf.dtypes.as_dtype(array.dtype)
                if wanted != given:
                    raise invalid_argument(
                        f"Expects arg[0] to be {type_name(wanted)} but {type_name(given)} is "
                        "provided"
                    )
            run = _runner(lease.model, signature)
            key = (lease.name, lease.number, id(lease.model), name)
            return self._batcher.submit(key, lease.name, run, inputs, self._batching, lease.release)
        except BaseException:
            lease.release()
            raise

    def close(self) -> None:
        """Answers what is queued, then closes the models."""
        self._batcher.close()
        self.models.close()


def signature_of(lease: Lease, name: str) -> Signature | None:
    """A signature of the leased version; None if it has none of the name."""
    return None if name.startswith("__") else lease.model.signatures.get(name)


def _load(name: str, path: Path) -> SavedModel:
    return SavedModel(path)


def _runner(model: SavedModel, signature: Signature) -> Callable:
    names = list(signature.outputs)
    fetches = [signature.outputs[name].name for name in names]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        feeds = {signature.inputs[key].name: array for key, array in inputs.items()}
        try:
            values = model.run(feeds, fetches)
        except (ValueError, TypeError) as error:
            raise ServingError("INVALID_ARGUMENT", str(error)) from error
        return {
            name: np.asarray(value, object) if isinstance(value, bytes) else np.asarray(value)
            for name, value in zip(names, values, strict=True)
        }

    return run
