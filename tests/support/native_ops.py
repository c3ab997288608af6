"""Skipping of tests where the native ops are not built."""

import os

import pytest

from tf_sg2.ops.implementation import native_missing


def require_native():
    """Skips a test where the native ops are not built; fails it in CI, where they must be."""
    if native_missing():
        if os.environ.get("CI"):
            pytest.fail(f"the native ops cannot be used: {native_missing()}")
        pytest.skip(f"the native ops cannot be used: {native_missing()}")
