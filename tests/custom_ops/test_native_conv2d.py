"""The native convolution: compared with NumPy for both tiles, its errors, and invalid arguments."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import oracles
from native_ops import require_native
from tf_sg2.custom_ops import build, loader
from tf_sg2.inspect.multiply_adds import count
from tf_sg2.ops import conv2d, use_implementation

pytestmark = pytest.mark.slow

# The largest error of unit-variance data, as a share of the result: norms, and the promise of
# docs/native-ops.md.
ERRORS = {2: 2e-6, 4: 2e-5}
generated = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.fixture(autouse=True)
def native():
    require_native()
    with use_implementation("native"):
        yield


def forward(x, weight, tile, turned=False):
    return loader.load().ops.tf_sg2_conv2d(x=x, weight=weight, tile=tile, turned=turned).numpy()


def filter_gradient(x, dy, tile):
    return loader.load().ops.tf_sg2_conv2d_filter_gradient(x=x, dy=dy, tile=tile).numpy()


@st.composite
def shapes(draw):
    """Batch, height, width, channels, filters: any, but a moderate number of multiply-adds."""
    channels, filters = draw(st.integers(1, 600)), draw(st.integers(1, 600))
    pixels = max(1, 100_000_000 // (9 * channels * filters))
    batch = draw(st.integers(0, 17))
    height = draw(st.integers(1, max(1, min(70, pixels // max(batch, 1)))))
    width = draw(st.integers(1, max(1, min(70, pixels // max(batch, 1) // height))))
    return batch, height, width, channels, filters


def relative_error(actual, expected):
    assert actual.shape == expected.shape
    norm = np.linalg.norm(expected)
    return np.linalg.norm(actual - expected) / norm if norm else np.linalg.norm(actual)


@generated
@given(shape=shapes(), tile=st.sampled_from([2, 4]), seed=st.integers(0, 2**31))
def test_all_passes_equal_numpy_for_generated_shapes(shape, tile, seed):
    n, height, width, channels, filters = shape
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, height, width, channels)).astype("float32")
    weight = random.normal(size=(3, 3, channels, filters)).astype("float32")
    dy = random.normal(size=(n, height, width, filters)).astype("float32")
    found = [
        (forward(x, weight, tile), oracles.convolution(x, weight)),
        (forward(dy, weight, tile, turned=True), oracles.convolution_input_gradient(dy, weight)),
        (filter_gradient(x, dy, tile), oracles.convolution_filter_gradient(x, dy)),
    ]
    # One pixel's sum may cancel, so tiny images are compared with the size of their summands.
    slack = 10 if height * width * min(channels, filters) < 64 else 1
    for actual, expected in found:
        assert relative_error(actual, expected) <= slack * ERRORS[tile]


@pytest.mark.parametrize("tile", [2, 4])
def test_error_at_512_channels_is_within_the_stated_bound(tile):
    random = np.random.default_rng(0)
    x = random.normal(size=(1, 16, 16, 512)).astype("float32")
    weight = random.normal(size=(3, 3, 512, 512)).astype("float32")
    errors = [
        relative_error(forward(x, weight, tile), oracles.convolution(x, weight)),
        relative_error(
            forward(x, weight, tile, turned=True), oracles.convolution_input_gradient(x, weight)
        ),
        relative_error(filter_gradient(x, x, tile), oracles.convolution_filter_gradient(x, x)),
    ]
    assert max(errors) <= ERRORS[tile]


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("exponents", [(-12, 12), (-30, -20), (20, 30)])
def test_error_with_adversarial_magnitudes_is_within_the_stated_bound(tile, exponents):
    """Magnitudes differ from pixel to pixel; an error is a share of the largest in the image."""
    random = np.random.default_rng(1)

    def values(*shape):
        scale = 10.0 ** random.uniform(*exponents, size=(*shape[:-1], 1))
        return (random.normal(size=shape) * scale).astype("float32")

    x, dy = values(1, 13, 14, 64), values(1, 13, 14, 48)
    weight = random.normal(size=(3, 3, 64, 48)).astype("float32")
    spread = np.abs(weight).sum()
    for actual, expected, size in (
        (forward(x, weight, tile), oracles.convolution(x, weight), np.abs(x).max()),
        (
            forward(dy, weight, tile, turned=True),
            oracles.convolution_input_gradient(dy, weight),
            np.abs(dy).max(),
        ),
    ):
        assert np.isfinite(actual).all()
        assert np.abs(actual - expected).max() <= ERRORS[tile] * size * spread / 64


def test_non_finite_values_are_not_hidden():
    x = np.ones((1, 8, 8, 16), "float32")
    weight = np.ones((3, 3, 16, 16), "float32")
    for value in (np.nan, np.inf):
        x[0, 3, 3, 5] = value
        for tile in (2, 4):
            for y in (forward(x, weight, tile), forward(x, weight, tile, turned=True)):
                assert not np.isfinite(y[0, 2:5, 2:5]).any()
            assert not np.isfinite(filter_gradient(x, x, tile)[:, :, 5]).any()


X, WEIGHT = tf.ones([1, 4, 4, 3]), tf.ones([3, 3, 3, 8])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": X[0]}, "x has shape \\[4,4,3\\]; it must be \\[N, H, W, C\\]"),
        ({"weight": WEIGHT[0]}, "weight has shape \\[3,3,8\\]; it must be \\[3, 3, in, out\\]"),
        ({"weight": WEIGHT[:2]}, "weight has shape \\[2,3,3,8\\]"),
        ({"weight": WEIGHT[:, :, :2]}, "weight has 2 input channels but x has shape \\[1,4,4,3\\]"),
        ({"turned": True}, "weight has 8 input channels but x has shape"),
        ({"tile": 3}, "tile is 3; it must be 2 or 4"),
        ({"tile": -4}, "tile is -4; it must be 2 or 4"),
        ({"x": tf.zeros([0, 1, 1, 2**20 + 1])}, "x has 1048577 channels; it must have at most"),
        ({"x": tf.zeros([0, 2**30 + 1, 1, 3])}, "it must have at most 1073741824 rows"),
    ],
)
def test_conv2d_op_refuses_hostile_arguments(arguments, message):
    ops = loader.load().ops
    good = {"x": X, "weight": WEIGHT, "tile": 4, "turned": False}
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=message):
        ops.tf_sg2_conv2d(**{**good, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": X[0]}, "x has shape \\[4,4,3\\]"),
        ({"dy": X[0]}, "dy has shape \\[4,4,3\\]"),
        ({"dy": X[:, :3]}, "dy has shape \\[1,3,4,3\\] but x has \\[1,4,4,3\\]; they must have"),
        ({"dy": tf.ones([2, 4, 4, 3])}, "dy has shape \\[2,4,4,3\\] but x has"),
        ({"tile": 6}, "tile is 6; it must be 2 or 4"),
    ],
)
def test_filter_gradient_op_refuses_hostile_arguments(arguments, message):
    ops = loader.load().ops
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ops.tf_sg2_conv2d_filter_gradient(**{"x": X, "dy": X, "tile": 4, **arguments})


@pytest.mark.parametrize("shape", [(0, 8, 8, 16, 16), (2, 0, 8, 16, 16), (2, 8, 8, 0, 16)])
def test_nothing_to_sum_gives_zeros(shape):
    n, height, width, channels, filters = shape
    x, dy = np.ones((n, height, width, channels), "f"), np.ones((n, height, width, filters), "f")
    y = forward(x, np.ones((3, 3, channels, filters), "f"), 4)
    np.testing.assert_array_equal(y, np.zeros(dy.shape))
    np.testing.assert_array_equal(filter_gradient(x, dy, 4), np.zeros((3, 3, channels, filters)))


def test_multiply_adds_are_counted_as_those_of_tensorflow():
    def passes(x, weight):
        with tf.GradientTape() as tape:
            tape.watch([x, weight])
            y = conv2d(x, weight)
        return tape.gradient(y, [x, weight], y)

    specs = tf.TensorSpec([2, 10, 12, 16]), tf.TensorSpec([3, 3, 16, 40])
    counts = []
    for name in ("native", "tensorflow"):
        with use_implementation(name):
            counts.append(count(tf.function(passes).get_concrete_function(*specs)).convolution)
    assert counts == [3 * 2 * 10 * 12 * 9 * 16 * 40] * 2


PROBE = """
import sys, numpy as np, tensorflow as tf
threads = int(sys.argv[2])
tf.config.threading.set_intra_op_parallelism_threads(threads)
from tf_sg2.custom_ops import loader
ops = loader.load().ops
random = np.random.default_rng(0)
SHAPES = (3, 17, 23, 40, 150), (1, 9, 8, 300, 130), (2, 64, 48, 16, 20)
results = []
for n, height, width, channels, filters in SHAPES:
    shapes = (n, height, width, channels), (3, 3, channels, filters), (n, height, width, filters)
    x, weight, dy = (tf.constant(random.normal(size=shape), tf.float32) for shape in shapes)
    for tile in (2, 4):
        results += [
            ops.tf_sg2_conv2d(x=x, weight=weight, tile=tile),
            ops.tf_sg2_conv2d(x=dy, weight=weight, tile=tile, turned=True),
            ops.tf_sg2_conv2d_filter_gradient(x=x, dy=dy, tile=tile),
        ]
np.save(sys.argv[1], np.concatenate([np.ravel(value) for value in results]))
print(loader.load().instruction_set)
"""


def probe(path, threads=2, target=""):
    found = subprocess.run(
        [sys.executable, "-c", PROBE, path, str(threads)],
        env={**os.environ, "TF_SG2_CPU": target},
        capture_output=True,
        text=True,
        check=True,
    )
    return np.load(path), found.stdout.strip()


def test_results_do_not_depend_on_the_number_of_threads(tmp_path):
    """To the bit, although each number divides the work in another way."""
    results = [probe(tmp_path / f"{threads}.npy", threads)[0] for threads in (1, 3, 16)]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize(
    ("target", "shown"), [("base", "the base instruction set"), ("avx2", "AVX2")]
)
def test_every_instruction_set_convolves_the_same(target, shown, tmp_path):
    if target == "avx2" and "avx2" not in build.TARGETS:
        pytest.skip("this is no x86-64 processor")
    best, _ = probe(tmp_path / "best.npy")
    other, name = probe(tmp_path / "other.npy", target=target)
    assert name.endswith(shown)
    np.testing.assert_allclose(best, other, atol=1e-5 * np.abs(best).max())
