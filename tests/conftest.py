"""What every test shares: quiet TensorFlow, a fixed seed, and the reference numbers."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import pytest

from checkout import REFERENCE, ROOT

# Folders of tests whose results depend on TensorFlow or Keras. Files elsewhere mark themselves.
STACK = {"custom_ops", "inspect", "latent", "networks", "ops", "runs", "training", "weights"}


def pytest_configure(config):
    """Prepares TensorFlow in the processes that run tests.

    With `-n`, this process only deals the tests out, and is ready seconds sooner without it.
    """
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        return
    import tensorflow as tf

    from tf_sg2.networks.precision import use_tf32

    # As in every command, float32 is never computed as TF32 on a GPU.
    use_tf32(False)
    # Splits the CPU into two devices, which train as two GPUs would. Works only before the first
    # op.
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )


def pytest_collection_modifyitems(items):
    """Gives the marker `stack` to the tests in the folders of STACK."""
    for item in items:
        if Path(item.path).relative_to(ROOT / "tests").parts[0] in STACK:
            item.add_marker("stack")


@pytest.fixture(scope="session")
def reference():
    with np.load(REFERENCE / "official_res32.npz") as archive:
        return dict(archive)


@pytest.fixture(params=["tensorflow", "native"])
def implementation(request):
    """Runs a test on either implementation of the ops."""
    from native_ops import require_native
    from tf_sg2.ops import use_implementation

    if request.param == "native":
        require_native()
    with use_implementation(request.param):
        yield request.param


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Exports of a tiny model, and of one with classes."""
    from tiny_exports import LABELS, export_tiny

    folder = tmp_path_factory.mktemp("models")
    return export_tiny(folder, "tiny"), export_tiny(folder, "classes", LABELS)


@pytest.fixture(scope="module")
def server(folders):
    """A local server of both."""
    from tiny_exports import serve_exports

    with serve_exports(*folders) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(folders):
    """A server of one model that asks for a token."""
    from tiny_exports import serve_exports

    with serve_exports(folders[0], token="secret") as server:
        yield server
