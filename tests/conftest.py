"""What every test shares: quiet TensorFlow, a fixed seed, and the reference numbers."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import pytest

# Numbers of the official implementation: a copy in the repository, so that a clone is enough.
REFERENCE = Path(__file__).parent / "data" / "official_res32.npz"


@pytest.fixture(scope="session")
def reference():
    with np.load(REFERENCE) as archive:
        return dict(archive)
