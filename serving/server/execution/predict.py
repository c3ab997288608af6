"""The part that gRPC and REST share: it runs one request on a model."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from tf_sg2.serving.server.execution.batching import Batcher
from tf_sg2.serving.server.execution.memory import Budget, Hold
from tf_sg2.serving.server.limits import Limits
from tf_sg2.serving.server.metrics import Metrics
from tf_sg2.serving.server.models.manager import Lease, ModelManager
from tf_sg2.serving.server.models.saved_model import SavedModel
from tf_sg2.serving.server.models.warmup import warm_up
from tf_sg2.serving.server.wire.config_files import BatchingParameters
from tf_sg2.serving.server.wire.errors import (
    ServingError,
    from_exception,
    invalid_argument,
    without_frames,
)
from tf_sg2.serving.server.wire.tensors import held_bytes, type_name

DEFAULT_SIGNATURE = "serving_default"
Signature: TypeAlias = meta_graph_pb2.SignatureDef


# A smaller conversion takes less time than a change of threads.
SMALL_BYTES = 1 << 15


class Predictor:
    """Runs requests on models.

    Args:
        metrics: counts each request.
        batching: None runs each request on its own.
        poll_seconds: time between two polls of the models' folders; 0 reads them once.
        limits: limits on what clients may use.
        labels_need_no_version: allows labels for versions that are not loaded.
        threads: threads per model; 0 lets TensorFlow choose.
    """

    def __init__(
        self,
        metrics: Metrics,
        batching: BatchingParameters | None,
        poll_seconds: float,
        limits: Limits | None = None,
        labels_need_no_version: bool = False,
        threads: int = 0,
    ):
        self.metrics, self.batching = metrics, batching
        self.limits = limits or Limits()
        self.budget = Budget(self.limits.memory_bytes)
        session_config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads
        )

        def load(_: str, path: Path) -> SavedModel:
            model = SavedModel(path, session_config)
            try:
                warm_up(
                    model,
                    lambda name, inputs: _runner(model, model.signatures[name])(inputs),
                    self.limits.message_bytes,
                )
            except BaseException:
                model.close()
                raise
            return model

        self.models = ModelManager(load, metrics, poll_seconds, labels_need_no_version)
        threads = batching.num_batch_threads if batching else max(2, os.cpu_count() or 1)
        self._batcher = Batcher(threads, metrics)
        # A third thread would take time from the models, and memory for a third body.
        self._pool = ThreadPoolExecutor(2, "convert")

    async def convert(self, size: int, function: Callable, *arguments: Any) -> Any:
        """Returns `function(*arguments)`; runs it in another thread if `size` bytes are many."""
        if size <= SMALL_BYTES:
            return function(*arguments)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, function, *arguments)

    async def predict(
        self,
        lease: Lease,
        name: str,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        timeout: float,
        api: str,
        hold: Hold,
    ) -> dict[str, np.ndarray]:
        """Returns the outputs by alias.

        A request that is cancelled or late in the queue never runs.
        `hold` holds the inputs and the lease, until no part of the request runs any more. It is
        charged for the outputs.

        Raises:
            ServingError: if the request is wrong; DEADLINE_EXCEEDED after `timeout` seconds.
        """
        started = time.monotonic()
        status = "OK"
        try:
            future = self._submit(lease, name, signature, inputs, hold)
            outputs = await asyncio.wait_for(asyncio.wrap_future(future), timeout)
            hold.add(held_bytes(outputs.values()))
            return outputs
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        except Exception as error:
            failure = from_exception(error)
            without_frames(error)
            status, failure.counted = failure.code, True
            raise failure from None
        finally:
            self.metrics.request_count.add(lease.name, status)
            self.metrics.request_latency.observe(
                lease.name, api, "Predict", value=1e6 * (time.monotonic() - started)
            )

    def count_refusal(self, model: str, failure: ServingError) -> None:
        """Counts a request that failed before `predict`.

        Unknown model names are not counted by name, because clients can send any number of them.
        """
        self.metrics.refused.add(failure.code)
        if model in self.models.names():
            self.metrics.request_count.add(model, failure.code)

    def _submit(
        self,
        lease: Lease,
        name: str,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        hold: Hold,
    ) -> Future[dict[str, np.ndarray]]:
        running = hold.hand_over(held_bytes(inputs.values()))
        try:
            for alias, array in inputs.items():
                wanted = tf.dtypes.as_dtype(signature.inputs[alias].dtype)
                given = tf.dtypes.as_dtype(array.dtype)
                if wanted != given:
                    raise invalid_argument(
                        f"Expects arg[0] to be {type_name(wanted)} but {type_name(given)} is "
                        "provided"
                    )
            run = _runner(lease.model, signature)
            key = (lease.name, lease.number, id(lease.model), name)
            return self._batcher.submit(
                key, lease.name, run, inputs, self.batching, running.release
            )
        except BaseException:
            running.release()
            raise

    def close(self) -> None:
        """Answers the queued requests, then closes the models."""
        self._batcher.close()
        self._pool.shutdown()
        self.models.close()


def signature_of(lease: Lease, name: str) -> Signature | None:
    """Returns a signature of the leased version; None if the version has no such signature."""
    return None if name.startswith("__") else lease.model.signatures.get(name)


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
