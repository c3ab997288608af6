"""The devices of this process by name: GPUs, or parts of the CPU."""

from __future__ import annotations

from tf_sg2.config.whole_number import whole_number
from tf_sg2.errors import InputError

MOST_LOGICAL_CPUS = 256


def device_names(devices: str = "auto") -> list[str]:
    """Returns names of TensorFlow's logical devices; none where there is no choice of GPUs.

    Args:
        devices: "auto": all GPUs. A number: that many GPUs. "cpu:N": N logical devices of the
            CPU, which work as N GPUs would, for tests.

    Raises:
        InputError: for other text, or for devices that do not exist.
    """
    cpus = whole_number(devices.removeprefix("cpu:")) if devices.startswith("cpu:") else None
    if cpus and cpus <= MOST_LOGICAL_CPUS:
        return _logical_cpus(cpus)
    import tensorflow as tf

    gpus = whole_number(devices)
    names = [device.name for device in tf.config.list_logical_devices("GPU")]
    if gpus:
        if gpus > len(names):
            raise InputError(
                f"--devices={devices}, but TensorFlow sees {len(names)} GPU(s); "
                "take fewer, or cpu:N to split the CPU"
            )
        return names[:gpus]
    if devices != "auto":
        raise InputError(
            f"--devices={devices!r} is not auto, a number of GPUs, or cpu:N with N from 1 to "
            f"{MOST_LOGICAL_CPUS}"
        )
    return names


def _logical_cpus(count: int) -> list[str]:
    import tensorflow as tf

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
