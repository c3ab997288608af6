"""Replays the warm-up requests of a version before it becomes available.

As in TensorFlow Serving, the file assets.extra/tf_serving_warmup_requests holds at most 1000
PredictionLogs. If one fails, the version is not loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tf_sg2.errors import InputError
from tf_sg2.serving.export.warmup import WARMUP_PATH
from tf_sg2.serving.server.models.saved_model import SavedModel
from tf_sg2.serving.server.wire.errors import ServingError, from_exception
from tf_sg2.serving.server.wire.tensors import to_array

MOST_RECORDS = 1000


def warm_up(
    model: SavedModel,
    run: Callable[[str, Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
    most_bytes: int,
) -> int:
    """Runs the warm-up requests of a version; returns their number.

    Args:
        model: the loaded version.
        run: runs a signature, by its name, on arrays.
        most_bytes: limit on one tensor, as for requests of clients.

    Raises:
        InputError: if the file cannot be read, has too many records, or a request fails.
    """
    path = model.directory / WARMUP_PATH
    if not path.exists():
        return 0
    count = 0
    try:
        for record in tf.data.TFRecordDataset(str(path)):
            count += 1
            if count > MOST_RECORDS:
                raise InputError(f"{path} holds more than {MOST_RECORDS} warm-up requests")
            recorded = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            _replay(model, run, recorded, most_bytes)
    except InputError:
        raise
    except Exception as error:
        message = from_exception(error).message
        raise InputError(f"warm-up request {count} of {path} failed: {message}") from error
    return count


def _replay(
    model: SavedModel, run: Callable, log: prediction_log_pb2.PredictionLog, most_bytes: int
) -> None:
    kind = log.WhichOneof("log_type")
    if kind != "predict_log":
        raise ServingError("UNIMPLEMENTED", f"Unsupported log_type for warmup: {kind}")
    request = log.predict_log.request
    name = request.model_spec.signature_name or "serving_default"
    if name not in model.signatures:
        raise ServingError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
    run(name, {key: to_array(proto, most_bytes) for key, proto in request.inputs.items()})
