"""What every test shares: quiet TensorFlow, a fixed seed, and the reference numbers."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import pytest
import tensorflow as tf

from checkout import REFERENCE
from native_ops import require_native
from tf_sg2.networks.precision import use_tf32
from tf_sg2.ops import use_implementation

# As in every command: float32 is float32, also on a GPU.
use_tf32(False)

# Two devices of one CPU train as two GPUs would; they must be made before TensorFlow is used.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(scope="session")
def reference():
    with np.load(REFERENCE / "official_res32.npz") as archive:
        return dict(archive)


@pytest.fixture(params=["tensorflow", "native"])
def implementation(request):
    """Runs a test on either implementation of the ops."""
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
