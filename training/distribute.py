"""Which devices train: a `tf.distribute` strategy, and the values of its replicas."""

from __future__ import annotations

from functools import cache

import tensorflow as tf

from tf_sg2.errors import InputError


def choose_strategy(devices: str = "auto") -> tf.distribute.Strategy:
    """Returns the strategy for `devices`.

    Args:
        devices: "auto" for all GPUs or else the CPU, a number of GPUs, or "cpu:N" for N logical
            devices of the CPU, which train as N GPUs would and serve to test that.

    Raises:
        InputError: for devices that are not there.
    """
    if devices.startswith("cpu:") and devices[4:].isdigit() and int(devices[4:]) > 0:
        names = _logical_cpus(int(devices[4:]))
    else:
        names = [device.name for device in tf.config.list_logical_devices("GPU")]
        if devices.isdigit() and int(devices) > 0:
            if int(devices) > len(names):
                raise InputError(
                    f"--devices={devices}, but TensorFlow sees {len(names)} GPU(s); "
                    "take fewer, or cpu:N to split the CPU"
                )
            names = names[: int(devices)]
        elif devices != "auto":
            raise InputError(f"--devices={devices!r} is not auto, a number of GPUs, or cpu:N")
    if len(names) <= 1:
        return tf.distribute.get_strategy()
    return _mirrored(tuple(names))


@cache
def _mirrored(names: tuple[str, ...]) -> tf.distribute.Strategy:
    """One strategy a process for each set of devices.

    A second one would number its all-reduces from the start again, and TensorFlow's runtime,
    which remembers the first one's, would refuse those of another shape.
    """
    return tf.distribute.MirroredStrategy(names)


def _logical_cpus(count: int) -> list[str]:
    cpu = tf.config.list_physical_devices("CPU")[0]
    if count > 1:
        try:
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * count
            )
        except RuntimeError as error:
            if len(tf.config.list_logical_devices("CPU")) != count:
                raise InputError(
                    f"--devices=cpu:{count} must be chosen before TensorFlow is used ({error})"
                ) from error
    return [device.name for device in tf.config.list_logical_devices("CPU")][:count]


def deal(strategy: tf.distribute.Strategy, values: tuple[tf.Tensor, ...]) -> tuple:
    """Deals a global batch to the replicas by stride: replica r of R gets rows r, r + R, ...

    Strided shares keep the minibatch-stddev groups of one device (see `MinibatchStddev`).
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return values

    def share(value):
        return strategy.experimental_distribute_values_from_function(
            lambda context: value[context.replica_id_in_sync_group :: replicas]
        )

    return tuple(share(value) for value in values)
