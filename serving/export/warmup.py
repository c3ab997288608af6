"""Warm-up requests, which a server runs on a new version before it serves it.

The first run of a graph plans and allocates memory, and is much slower than later runs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tf_sg2.config import GeneratorConfig
from tf_sg2.latent.seeds import latents
from tf_sg2.serving.export.signatures import inputs_of, signatures_of

# TensorFlow Serving looks for this file in the folder of a version.
WARMUP_PATH = Path("assets.extra") / "tf_serving_warmup_requests"
PSI = 0.7


def example_inputs(config: GeneratorConfig, signature: str, rows: int) -> dict[str, np.ndarray]:
    """Returns valid inputs of a signature with `rows` rows, the same for every call."""
    seeds = np.arange(rows, dtype=np.int64)
    generator = np.random.default_rng(0)
    w = generator.standard_normal([rows, config.num_ws, config.w_dim], np.float32)
    values = {
        "z": np.asarray(latents(seeds, config.z_dim)),
        "w": w,
        "seed": seeds,
        "seed_a": seeds,
        "seed_b": seeds + rows,
        "cutoff": np.full([rows], config.num_ws // 2, np.int32),
        "truncation_psi": np.full([rows], PSI, np.float32),
        "labels": np.eye(max(config.label_dim, 1), dtype=np.float32)[
            seeds % max(config.label_dim, 1)
        ],
    }
    return {name: values[name] for name in signatures_of(config)[signature].inputs}


def warmup_requests(
    config: GeneratorConfig, model: str, rows: int
) -> list[predict_pb2.PredictRequest]:
    """Returns one request per signature, of `rows` rows, for the model named `model`."""
    known, requests = inputs_of(config), []
    for signature in signatures_of(config):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        for name, value in example_inputs(config, signature, rows).items():
            tensor = tf.make_tensor_proto(value, known[name].dtype, value.shape)
            request.inputs[name].CopyFrom(tensor)
        requests.append(request)
    return requests


def write_warmup(folder: Path, requests: list[predict_pb2.PredictRequest]) -> None:
    """Writes the requests to the place in the version's folder where a server looks for them."""
    path = folder / WARMUP_PATH
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString())


def read_warmup(folder: Path) -> list[predict_pb2.PredictRequest]:
    """Returns the requests that `write_warmup` wrote."""
    requests = []
    for record in tf.data.TFRecordDataset(str(folder / WARMUP_PATH)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        requests.append(log.predict_log.request)
    return requests
