"""Runs the tests of the native ops on a build with AddressSanitizer and UBSan.

    python tests/custom_ops/run_sanitized.py

A separate program, because the sanitizers must be loaded before Python.
"""

import os
import subprocess
import sys
from pathlib import Path

from tf_sg2.custom_ops import build, loader

TESTS = (
    "custom_ops/test_native_ops.py",
    "custom_ops/test_native_conv2d.py",
    "ops/test_upfirdn2d.py",
    "ops/test_bias_act.py",
    "ops/test_conv2d.py",
)
# The first two start programs, whose output would contain that of the sanitizers. The third limits
# its address space, of which AddressSanitizer reserves terabytes.
LEFT_OUT = "not instruction_set and not missing and not bias_act_op_refuses_more_memory"


def main() -> int:
    """Builds, tests, and returns the tests' exit status."""
    library = build.build(cuda=False, sanitize=True).library
    runtimes = [
        subprocess.run(
            [*build.compiler(), f"-print-file-name={name}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        # The C++ library too: AddressSanitizer looks up its exceptions when it starts.
        for name in ("libasan.so", "libubsan.so", "libstdc++.so")
    ]
    environment = {
        **os.environ,
        loader.OVERRIDE: str(library),
        "LD_PRELOAD": " ".join(runtimes),
        # Python and TensorFlow do not free some memory that they allocate only once.
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "halt_on_error=1,print_stacktrace=1",
        "CI": "true",  # A skipped test would prove nothing.
    }
    tests = [str(Path(__file__).parents[1] / name) for name in TESTS]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", LEFT_OUT, *tests]
    return subprocess.run(command, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
