"""The devices that train: a `tf.distribute` strategy, and the shares of its replicas."""

from __future__ import annotations

import os
from functools import cache

import tensorflow as tf

from tf_sg2.config.whole_number import whole_number
from tf_sg2.errors import InputError
from tf_sg2.networks.devices import device_names
from tf_sg2.training.cluster.join_timeout import time_limit
from tf_sg2.training.cluster.tf_config import SINGLE_WORKER, WORKER_TIMEOUT, Cluster


def choose_strategy(
    devices: str = "auto", cluster: Cluster = SINGLE_WORKER, worker_timeout: float = WORKER_TIMEOUT
) -> tf.distribute.Strategy:
    """Returns the strategy for `devices`. With several workers, it waits for all of them.

    Args:
        devices: the devices of this process. "auto": all GPUs, or the CPU without a GPU. A number:
            that many GPUs. "cpu:N": N logical devices of the CPU, which train as N GPUs would,
            for tests.
        cluster: the workers. With several, call this before TensorFlow is used.
        worker_timeout: seconds to wait for the other workers; then the process ends.

    Raises:
        InputError: for other text, or for devices that do not exist.
    """
    if cluster.size > 1:
        return _multi_worker(devices, cluster, worker_timeout)
    names = device_names(devices)
    if len(names) <= 1:
        return tf.distribute.get_strategy()
    # TensorFlow reads it too, and fails if it is empty or names only this process.
    os.environ.pop("TF_CONFIG", None)
    return _mirrored(tuple(names))


@cache
def _mirrored(names: tuple[str, ...]) -> tf.distribute.Strategy:
    """Returns the same strategy each time for the same devices.

    A second strategy would number its all-reduces from the start again. TensorFlow's runtime
    remembers those of the first one, and would refuse a number with another shape.
    """
    return tf.distribute.MirroredStrategy(names)


@cache
def _multi_worker(devices: str, cluster: Cluster, worker_timeout: float) -> tf.distribute.Strategy:
    gpus = tf.config.list_physical_devices("GPU")
    wanted = whole_number(devices)
    if wanted:
        if wanted > len(gpus):
            raise InputError(
                f"--devices={devices}, but TensorFlow sees {len(gpus)} GPU(s) on "
                f"{cluster.name(cluster.index)}; take fewer, or auto"
            )
        tf.config.set_visible_devices(gpus[:wanted], "GPU")
    elif devices not in ("auto", "cpu:1"):
        raise InputError(
            f"--devices={devices!r} is not auto or a number of GPUs; with TF_CONFIG, a worker has "
            "one CPU device"
        )
    elif devices == "cpu:1":
        tf.config.set_visible_devices([], "GPU")
    try:
        with time_limit(cluster, worker_timeout):
            return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise InputError(
            f"the cluster of TF_CONFIG must be joined before TensorFlow is used ({error})"
        ) from error


def local_replicas(strategy: tf.distribute.Strategy) -> int:
    """Returns the number of the strategy's replicas in this process."""
    if strategy.num_replicas_in_sync == 1:  # The default strategy has no worker devices.
        return 1
    return len(strategy.extended.worker_devices)


def deal(strategy: tf.distribute.Strategy, values: tuple[tf.Tensor, ...]) -> tuple:
    """Distributes this worker's share of a batch to its replicas by stride.

    Replica l of the worker's L replicas gets rows l, l + L, ... Worker w of W has rows w, w + W,
    ... of the global batch. Strided shares keep the minibatch-stddev groups of one device, see
    `MinibatchStddev`.
    """
    if strategy.num_replicas_in_sync == 1:
        return values
    count = local_replicas(strategy)

    def share(value):
        return strategy.experimental_distribute_values_from_function(
            lambda context: value[context.replica_id_in_sync_group % count :: count]
        )

    return tuple(share(value) for value in values)
