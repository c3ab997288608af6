"""Memory: sets of 50,000 images need less than 1 GiB, and no matrix of distances is ever whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

MEASURE = """
import json, sys
import numpy as np
from pathlib import Path
from tf_sg2 import metrics
from tf_sg2.metrics import neighbours

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024

def batches(count, width, seed):
    random = np.random.default_rng(seed)
    for start in range(0, count, 1000):
        yield random.standard_normal((min(1000, count - start), width), np.float32)

{body}
print(json.dumps([peak(), value]))
"""

STREAM = """
sets, peaks = [], []
for seed, count in ((1, 2_100), (2, 9_000)):
    moments = metrics.Moments(2048)
    for batch in batches(count, 2048, seed):
        moments.add(batch)
    sets.append(moments)
    peaks.append(peak())
value = [metrics.frechet_distance_of_moments(*sets), peaks]
"""

STORED = """
features = np.empty((50_000, 2048), np.float32)
for i, batch in enumerate(batches(50_000, 2048, 1)):
    features[1000 * i : 1000 * i + 1000] = batch
others = features[:500]
value = metrics.kernel_distance(features, others, subsets=2)
value += sum(metrics.precision_recall(features[:2500], features[2500:5000]))
value += metrics.frechet_distance(features[:5000], others)
"""

BLOCKS = """
neighbours.BLOCK_ROWS = 512
sets = [np.concatenate(list(batches(6_000, 8, seed))) for seed in (1, 2)]
value = [*metrics.precision_recall(*sets), *metrics.density_coverage(*sets)]
value.append(abs(metrics.kernel_distance_of_all(*sets, block_rows=512)))
"""


def measured(body):
    """Returns the largest resident size of a fresh process, in bytes, and its result."""
    program = MEASURE.replace("{body}", body)
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # Threads wait for each other busily.
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
@pytest.mark.slow
def test_a_stream_of_2048_features_needs_under_1_gib_whatever_its_length():
    size, (value, (short, long)) = measured(STREAM)
    assert size < 2**30
    assert long - short < 6_900 * 2048 * 4  # What only the rows would take, were they kept.
    assert 0 < value < 2048  # Two samples of one distribution.


@linux
@pytest.mark.slow
def test_stored_features_of_50000_rows_need_under_1_gib():
    size, value = measured(STORED)
    assert 2**28 < size < 2**30  # The features themselves take 0.4 GiB.
    assert value > 0


@linux
@pytest.mark.slow
def test_no_matrix_of_distances_is_whole():
    """A float64 matrix of 6,000 by 6,000 takes 288 MB."""
    size, value = measured(BLOCKS)
    assert size < 6_000 * 6_000 * 8
    assert all(0 <= number < 2 for number in value)
