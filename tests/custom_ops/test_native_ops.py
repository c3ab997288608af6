"""The native ops: compared with NumPy and SciPy, invalid arguments, and where they are used."""

import dataclasses
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import oracles
from native_ops import require_native
from tf_sg2 import InputError
from tf_sg2.custom_ops import build, loader
from tf_sg2.ops import ACTIVATIONS, bias_act, current_implementation, upfirdn2d, use_implementation
from tf_sg2.ops.implementation import native_missing
from tf_sg2.training.run.devices import choose_strategy

pytestmark = pytest.mark.slow

generated = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    # On a busy machine, the drawing of arguments may take its time.
    suppress_health_check=[
        HealthCheck.filter_too_much,
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)
TOLERANCES = {"float64": 1e-12, "float32": 2e-6, "float16": 2e-3, "bfloat16": 2e-2}
SMALL = st.integers(0, 9)
CHANNELS = st.sampled_from([1, 2, 3, 4, 5, 8, 15, 16, 17, 33, 64])
SEEDS = st.integers(0, 2**31)


@pytest.fixture(autouse=True)
def native():
    require_native()
    with use_implementation("native"):
        yield


THREADS_PROBE = """
import numpy as np, sys, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[2]))
from tf_sg2.ops import bias_act, upfirdn2d, use_implementation
random = np.random.default_rng(0)
x = tf.constant(random.normal(size=(3, 128, 96, 20)), tf.float32)
bias = tf.constant(random.normal(size=20), tf.float32)
with use_implementation("native"), tf.GradientTape() as tape:
    tape.watch([x, bias])
    y = upfirdn2d(bias_act(x, bias, "lrelu"), random.normal(size=(4, 4)), padding=(2, 1, 2, 1))
    loss = tf.reduce_sum(y * y)
gradients = tape.gradient(loss, [x, bias])
np.save(sys.argv[1], np.concatenate([np.ravel(value) for value in (y, *gradients)]))
"""


@st.composite
def resamplings(draw):
    """Arguments of an `upfirdn2d` that has a result, at most a few thousand numbers."""
    usual = draw(st.booleans())  # As networks have it, for which there is code of its own.
    factors = st.integers(1, 2 if usual else 4)
    up, down = (draw(st.tuples(factors, factors)) for _ in range(2))
    sizes = st.sampled_from([4, 4, 3]) if usual else st.integers(1, 9) | st.just(32)
    taps = draw(st.tuples(sizes, sizes))
    padding = draw(st.tuples(*(st.integers(-4, 12) for _ in range(4))))
    size = draw(st.tuples(*(st.integers(1, 12) for _ in range(2))))
    random = np.random.default_rng(draw(SEEDS))
    kernel = random.normal(size=taps)
    if usual or draw(st.booleans()):
        kernel = np.outer(kernel[:, 0], kernel[0])
    channels = draw(st.sampled_from([16, 32, 64]) if usual else CHANNELS)
    batch = draw(st.integers(0, 3))
    x = random.normal(size=(batch, *size, channels))
    fits = [size[a] * up[a] + sum(padding[2 * a : 2 * a + 2]) - taps[a] for a in (0, 1)]
    return x, kernel, up, down, padding, draw(st.booleans()), all(room >= 0 for room in fits)


@settings(generated, max_examples=120)
@given(arguments=resamplings(), dtype=st.sampled_from(sorted(TOLERANCES)))
def test_upfirdn2d_equals_scipy_for_generated_arguments(arguments, dtype):
    x, kernel, up, down, padding, flip, fits = arguments
    if not fits:
        with pytest.raises(InputError, match="are fewer than the kernel's"):
            upfirdn2d(tf.constant(x), kernel, up, down, padding)
        return
    x = tf.cast(x, dtype)
    y = upfirdn2d(x, kernel, up, down, padding, gain=1.3, flip_kernel=flip)
    assert y.dtype == dtype
    rounded = tf.cast(x, "float64").numpy()
    expected = oracles.upfirdn2d(rounded, kernel, up, down, padding, 1.3, flip)
    assert y.shape == expected.shape
    scale = np.abs(kernel).sum() * max(np.abs(rounded).max(initial=0), 1)
    np.testing.assert_allclose(tf.cast(y, "float64"), expected, atol=TOLERANCES[dtype] * scale)


@pytest.mark.parametrize(
    ("shape", "up", "down"),
    [
        ((1, 200, 3000, 3), 2, 1),
        ((1, 1200, 4800, 3), 1, 2),
        ((2, 130, 260, 64), 1, 1),
        ((1, 260, 500, 160), 1, 2),
    ],
)
def test_upfirdn2d_equals_scipy_where_rows_are_cut_and_results_pass_the_caches(shape, up, down):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    kernel = np.outer([1, 3, 3, 1], [1, 2, 4, 1]) / 64
    y = upfirdn2d(x, kernel, up, down, padding=(2, 1, 2, 1))
    assert y.shape.num_elements() * 4 >= 16 << 20
    expected = oracles.upfirdn2d(x, kernel, (up, up), (down, down), (2, 1, 2, 1), 1, False)
    np.testing.assert_allclose(y, expected, atol=2e-6)


@settings(generated, max_examples=120)
@given(arguments=resamplings(), static=st.booleans())
def test_upfirdn2d_gradients_are_the_adjoint(arguments, static):
    """<A x, u> = <x, A' u> for the gradient A' u, and the gradient of that by u is A again."""
    x, kernel, up, down, padding, flip, fits = arguments
    if not fits:
        return
    shape = x.shape if static else [None, None, None, x.shape[3]]

    def forward(x):
        return upfirdn2d(x, kernel, up, down, padding, flip_kernel=flip)

    @tf.function(input_signature=[tf.TensorSpec(shape, "float64"), tf.TensorSpec(None, "float64")])
    def derivatives(x, upstream):
        with tf.GradientTape() as outer:
            outer.watch(upstream)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = forward(x)
            first = inner.gradient(y, x, upstream)
        return y, first, outer.gradient(first, upstream, x)

    expected = oracles.upfirdn2d(x, kernel, up, down, padding, 1, flip)
    upstream = np.random.default_rng(1).normal(size=expected.shape)
    y, first, second = derivatives(tf.constant(x), tf.constant(upstream))
    np.testing.assert_allclose(y, expected, atol=1e-10)
    assert first.shape == x.shape
    scale = max(np.abs(expected * upstream).sum(), 1)
    assert np.sum(expected * upstream) == pytest.approx(np.sum(x * first), abs=1e-10 * scale)
    np.testing.assert_allclose(second, expected, atol=1e-10)


@st.composite
def epilogues(draw):
    """Arguments of a `bias_act` with any of scale, noise and bias."""
    random = np.random.default_rng(draw(SEEDS))
    n, height, width, channels = draw(SMALL), draw(SMALL), draw(SMALL), draw(CHANNELS)
    noise_batch = draw(st.sampled_from([1, n]))
    return {
        "x": random.normal(size=(n, height, width, channels)),
        "scale": random.normal(size=(n, channels)) if draw(st.booleans()) else None,
        "noise": random.normal(size=(noise_batch, height, width)) if draw(st.booleans()) else None,
        "bias": random.normal(size=channels) if draw(st.booleans()) else None,
        "gain": draw(st.sampled_from([None, 0.7])),
        "clamp": draw(st.sampled_from([None, 0.8])),
        "activation": draw(st.sampled_from(sorted(ACTIVATIONS))),
    }


def argument(x, scale=None, noise=None, bias=None):
    """What the activation is applied to, in NumPy."""
    t = np.asarray(x, np.float64)
    t = t if scale is None else t * scale[:, None, None, :]
    t = t if noise is None else t + noise[..., None]
    return t if bias is None else t + bias


@generated
@given(values=epilogues(), dtype=st.sampled_from(sorted(TOLERANCES)))
def test_bias_act_equals_numpy_for_generated_arguments(values, dtype):
    tensors = {
        name: tf.cast(values[name], dtype)
        for name in ("x", "scale", "noise", "bias")
        if values[name] is not None
    }
    rest = {name: values[name] for name in ("activation", "gain", "clamp")}
    y = bias_act(**tensors, **rest)
    assert y.dtype == dtype
    rounded = {name: tf.cast(value, "float64").numpy() for name, value in tensors.items()}
    expected = oracles.bias_act(argument(**rounded), **rest)
    scale = max(np.abs(argument(**rounded)).max(initial=0), 1)
    np.testing.assert_allclose(tf.cast(y, "float64"), expected, atol=4 * TOLERANCES[dtype] * scale)


def differences(function, values, name, direction, step=1e-5):
    """The directional derivative of `function(values)` by one of them, by central differences."""
    low, high = (
        function({**values, name: values[name] + sign * step * direction}) for sign in (-1, 1)
    )
    return (high - low) / (2 * step)


@generated
@given(values=epilogues())
def test_bias_act_first_and_second_derivatives_equal_differences(values):
    """First of the sum weighted by u; second of the first's own sum along random directions."""
    names = [name for name in ("x", "scale", "noise", "bias") if values[name] is not None]
    points = {name: values[name] for name in names}
    rest = {name: values[name] for name in ("activation", "gain", "clamp")}
    random = np.random.default_rng(0)
    # Away from kinks, where differences say nothing.
    t = argument(**points)
    v = oracles.bias_act(t, **rest)
    kinks = np.abs(t) < 1e-3
    if rest["clamp"] is not None:
        kinks |= np.abs(np.abs(oracles.bias_act(t, **{**rest, "clamp": None})) - 0.8) < 1e-3
    u = np.where(kinks, 0, random.normal(size=v.shape))
    directions = {name: random.normal(size=value.shape) for name, value in points.items()}

    def weighted(values):
        return np.sum(u * oracles.bias_act(argument(**values), **rest))

    def native_first(values):
        tensors = {name: tf.constant(value) for name, value in values.items()}
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            y = tf.reduce_sum(u * bias_act(**tensors, **rest))
        found = tape.gradient(y, tensors)
        return sum(np.sum(found[name] * directions[name]) for name in names)

    expected = sum(differences(weighted, points, name, directions[name]) for name in names)
    size = 1 + np.abs(u).sum()
    assert native_first(points) == pytest.approx(expected, abs=1e-7 * size)

    tensors = {name: tf.constant(value) for name, value in points.items()}
    upstream = tf.constant(u)
    with tf.GradientTape() as outer:
        outer.watch([tensors, upstream])
        with tf.GradientTape() as inner:
            inner.watch(tensors)
            y = tf.reduce_sum(upstream * bias_act(**tensors, **rest))
        first = inner.gradient(y, tensors)
        total = tf.add_n([tf.reduce_sum(first[name] * directions[name]) for name in names])
    second, by_upstream = outer.gradient(
        total, [tensors, upstream], unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    for name in names:
        assert second[name] is not None
        assert second[name].shape == points[name].shape
        expected = differences(native_first, points, name, directions[name])
        actual = np.sum(second[name] * directions[name])
        assert actual == pytest.approx(expected, abs=2e-6 * size)
    assert np.sum(by_upstream * u) == pytest.approx(native_first(points), abs=1e-9 * size)


X = tf.ones([1, 4, 4, 3])
KERNEL = tf.ones([4, 4], tf.float64)
PADDING = tf.zeros([4], tf.int64)
NONE = tf.zeros([0])
PARAMETERS = tf.constant([0.2, 1.0, -1.0], tf.float64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": tf.ones([4, 4, 3])}, "x has shape \\[4,4,3\\]; it must be \\[N, H, W, C\\]"),
        ({"kernel": tf.ones([4], tf.float64)}, "kernel has shape \\[4\\]"),
        ({"kernel": tf.ones([0, 4], tf.float64)}, "kernel has 0 rows; it must have 1 to 32"),
        ({"kernel": tf.ones([4, 33], tf.float64)}, "kernel has 33 columns; it must have 1 to 32"),
        ({"padding": PADDING[:3]}, "padding has shape \\[3\\]; it must be four numbers"),
        ({"padding": PADDING + 2**41}, "padding is 2199023255552; it must be within"),
        ({"padding": PADDING - 2**62}, "padding is -4611686018427387904; it must be within"),
        (
            {"padding": PADDING + tf.int64.min},
            "padding is -9223372036854775808; it must be within",
        ),
        ({"padding": PADDING - 1}, "rows 4 \\* up 1 with padding \\(-1, -1\\) are fewer"),
        ({"up": [0, 1]}, "up is 0; it must be 1 to 65536"),
        ({"down": [1, -2]}, "down is -2; it must be 1 to 65536"),
        ({"up": [2]}, "up has 1 values; it must have two"),
        ({"up": [2**30, 1]}, "up is 1073741824; it must be 1 to 65536"),
    ],
)
def test_upfirdn2d_op_refuses_hostile_arguments(arguments, message):
    """Called behind the back of the Python function, which checks them too."""
    ops = loader.load().ops
    good = {"x": X, "kernel": KERNEL, "padding": PADDING, "up": [1, 1], "down": [1, 1]}
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=message):
        ops.tf_sg2_upfirdn2d(**{**good, **arguments})


def test_upfirdn2d_op_refuses_more_memory_than_there_is():
    ops = loader.load().ops
    with pytest.raises((tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError)):
        ops.tf_sg2_upfirdn2d(x=X, kernel=KERNEL, padding=PADDING + 2**39, up=[1, 1], down=[1, 1])


def test_upfirdn2d_op_gives_nan_for_nan_kernels():
    y = loader.load().ops.tf_sg2_upfirdn2d(x=X, kernel=KERNEL * np.nan, padding=PADDING)
    assert np.all(np.isnan(y))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": tf.ones([])}, "x is a scalar"),
        ({"bias": tf.ones([4])}, "bias has shape \\[4\\] but x has \\[1,4,4,3\\]"),
        ({"bias": tf.ones([1, 3])}, "bias has shape \\[1,3\\]"),
        ({"scale": tf.ones([2, 3])}, "scale has shape \\[2,3\\] but x has \\[1,4,4,3\\]"),
        ({"scale": tf.ones([3])}, "scale has shape \\[3\\]"),
        ({"x": tf.ones([4, 3]), "scale": tf.ones([4, 3])}, "x has shape \\[4,3\\]; it must be"),
        ({"noise": tf.ones([1, 4, 5])}, "noise has shape \\[1,4,5\\]"),
        ({"noise": tf.ones([2, 4, 4])}, "noise has shape \\[2,4,4\\]"),
        ({"parameters": PARAMETERS[:2]}, "parameters have shape \\[2\\]"),
    ],
)
def test_bias_act_op_refuses_hostile_arguments(arguments, message):
    ops = loader.load().ops
    good = {"x": X, "scale": NONE, "noise": NONE, "bias": NONE, "parameters": PARAMETERS}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ops.tf_sg2_bias_act(**{**good, **arguments}, activation="lrelu")
    if "x" not in arguments:
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            ops.tf_sg2_bias_act_gradient(dy=X, **{**good, **arguments}, activation="lrelu")


def test_bias_act_op_refuses_gradients_of_another_shape():
    ops = loader.load().ops
    good = {
        "x": X,
        "scale": NONE,
        "noise": NONE,
        "bias": NONE,
        "parameters": PARAMETERS,
        "activation": "tanh",
    }
    with pytest.raises(tf.errors.InvalidArgumentError, match="dy has shape \\[1,4,4,2\\]"):
        ops.tf_sg2_bias_act_gradient(dy=X[..., :2], **good)
    with pytest.raises(tf.errors.InvalidArgumentError, match="incoming gradient of bias has"):
        ops.tf_sg2_bias_act_gradient2(ux=X, uscale=NONE, unoise=NONE, ubias=X, dy=X, **good)


LITTLE_MEMORY = """
import resource, tensorflow as tf
from tf_sg2.ops import bias_act, use_implementation
def limit(spare):
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + spare, resource.RLIM_INFINITY))
x = tf.zeros([16 << 20])
with use_implementation("native"):
    bias_act(tf.zeros([8]), activation="lrelu")
    limit(100 << 20)  # Enough for the result, too little for what the kernel needs beside it.
    try:
        bias_act(x, activation="lrelu")
    except tf.errors.ResourceExhaustedError as error:
        print(error.message)
"""


def test_bias_act_op_refuses_more_memory_than_there_is():
    found = subprocess.run(
        [sys.executable, "-c", LITTLE_MEMORY], capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 0, found.stderr
    assert (
        "bias_act: there is no memory for the 134217728 bytes that each thread needs; use fewer"
        in found.stdout
    )


def test_mismatched_types_are_refused():
    with pytest.raises(InputError, match="scale is float64 but x is float32"):
        bias_act(X, scale=tf.ones([1, 3], tf.float64))
    with pytest.raises(InputError, match="noise has shape"):
        bias_act(X, noise=tf.ones([4, 4]))


def test_shapes_are_inferred_as_far_as_they_are_known():
    @tf.function(input_signature=[tf.TensorSpec([None, None, 8, 3])])
    def run(x):
        y = upfirdn2d(x, np.ones([4, 4]), up=2, padding=(2, 1, 2, 1))
        assert y.shape.as_list() == [None, None, 16, 3]
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = bias_act(upfirdn2d(x, np.ones([4, 4]), up=2, padding=(2, 1, 2, 1)), tf.ones([3]))
        gradient = tape.gradient(y, x)
        assert gradient.shape.as_list() == [None, None, 8, 3]
        return gradient

    assert run(tf.ones([2, 5, 8, 3])).shape == [2, 5, 8, 3]


def test_noise_of_unknown_rank_has_a_gradient_of_its_own_shape():
    @tf.function(input_signature=[tf.TensorSpec([2, 4, 4, 3]), tf.TensorSpec(None)])
    def derivatives(x, noise):
        with tf.GradientTape() as outer:
            outer.watch([x, noise])
            with tf.GradientTape() as inner:
                inner.watch(noise)
                y = bias_act(x, activation="swish", noise=noise)
            first = inner.gradient(y, noise)
        return first, outer.gradient(first, noise)

    x = tf.random.stateless_normal([2, 4, 4, 3], [1, 2])
    for noise in (x[:1, ..., 0], x[..., 0]):
        found = derivatives(x, noise)
        with use_implementation("tensorflow"):
            expected = tf.function(derivatives.python_function)(x, noise)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.shape == noise.shape
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_what_kernels_read_on_the_host_is_made_there():
    """Otherwise a GPU would copy it in each call. The graph shows the placement."""

    @tf.function
    def derivative(x):
        with tf.device("GPU:0"), tf.GradientTape() as tape:
            tape.watch(x)
            y = bias_act(upfirdn2d(x, np.ones([4, 4]), padding=(2, 1, 2, 1)), tf.ones([3]))
        return tape.gradient(y, x)

    for shape in ([1, 4, 4, 3], [None, None, None, 3]):
        graph = derivative.get_concrete_function(tf.TensorSpec(shape)).graph
        nodes = {node.name: node for node in graph.as_graph_def().node}
        for function in graph.as_graph_def().library.function:
            nodes |= {node.name: node for node in function.node_def}
        ops = [node for node in nodes.values() if node.op.startswith("TfSg2>")]
        assert len(ops) >= 3
        for op in ops:
            on_host = op.input[1:3] if "Upfirdn2d" in op.op else op.input[-1:]
            for name in on_host:
                made = nodes.get(name.split(":")[0])
                assert made is None or "CPU:0" in made.device, (op.name, name)


def test_native_ops_run_in_a_data_pipeline_and_on_mirrored_devices():
    def half(x):
        return bias_act(upfirdn2d(x, np.ones([2, 2]) / 4, down=2), tf.ones([3]), "relu", gain=1)

    data = tf.data.Dataset.from_tensors(X).map(half, num_parallel_calls=2)
    np.testing.assert_allclose(next(iter(data)), np.full([1, 2, 2, 3], 2), rtol=1e-6)
    strategy = choose_strategy("cpu:2")
    values = strategy.experimental_local_results(strategy.run(tf.function(half), [X]))
    for value in values:
        np.testing.assert_allclose(value, np.full([1, 2, 2, 3], 2), rtol=1e-6)


def test_auto_uses_the_native_ops_except_under_xla():
    with use_implementation("auto"):
        assert current_implementation() == "native"

        @tf.function(jit_compile=True)
        def compiled(x):
            assert current_implementation() == "tensorflow"
            return bias_act(upfirdn2d(x, np.ones([2, 2]), down=2), tf.ones([3]), "lrelu")

        np.testing.assert_allclose(compiled(X), np.full([1, 2, 2, 3], 5 * 2**0.5), rtol=1e-6)
    with pytest.raises(InputError, match="which cannot hold them"):
        tf.function(bias_act, jit_compile=True, autograph=False)(X)


def test_xla_refuses_what_was_traced_with_native_ops_and_names_the_op():
    """As `current_implementation` says; traced with "tensorflow", the function is compiled."""

    def pool(x):
        return upfirdn2d(x, np.ones([2, 2]), down=2)

    def compile_around(traced):
        return tf.function(lambda x: traced(x) + 1, jit_compile=True, autograph=False)(X)

    traced = tf.function(pool)
    with use_implementation("auto"):
        traced(X)
        with pytest.raises(tf.errors.InvalidArgumentError, match="TfSg2>Upfirdn2d"):
            compile_around(traced)
    traced = tf.function(pool)
    with use_implementation("tensorflow"):
        traced(X)
    np.testing.assert_allclose(compile_around(traced), np.full([1, 2, 2, 3], 5), rtol=1e-6)


PROBE = """
import numpy as np, sys, tensorflow as tf
from tf_sg2.ops import bias_act, upfirdn2d, use_implementation
from tf_sg2.custom_ops import loader
random = np.random.default_rng(0)
x = tf.constant(random.normal(size=(2, 9, 7, 37)), tf.float32)
with use_implementation("native"):
    y = upfirdn2d(x, random.normal(size=(4, 4)), up=2, padding=(2, 1, 2, 1))
    y = bias_act(y, x[0, 0, 0], "lrelu", scale=x[:, 0, 0])
np.save(sys.argv[1], y)
print(loader.load().instruction_set)
"""


@pytest.mark.parametrize(
    ("target", "shown"), [("base", "the base instruction set"), ("avx2", "AVX2")]
)
def test_every_instruction_set_computes_the_same(target, shown, tmp_path):
    if target == "avx2" and "avx2" not in build.TARGETS:
        pytest.skip("this is no x86-64 processor")
    results = []
    for name in ("", target):
        path = tmp_path / f"result{name}.npy"
        found = subprocess.run(
            [sys.executable, "-c", PROBE, path],
            env={**os.environ, "TF_SG2_CPU": name},
            capture_output=True,
            text=True,
            check=True,
        )
        results.append(np.load(path))
    assert found.stdout.strip().endswith(shown)
    np.testing.assert_allclose(*results, atol=1e-5)


def test_a_missing_build_is_one_line_and_the_tensorflow_implementation(tmp_path):
    probe = (
        "import tensorflow as tf\nfrom tf_sg2.ops import bias_act, current_implementation\n"
        "for _ in range(3): bias_act(tf.ones([2]))\nprint(current_implementation())"
    )
    found = subprocess.run(
        [sys.executable, "-c", probe],
        env={**os.environ, "TF_SG2_CACHE": str(tmp_path), "TF_SG2_OPS_LIBRARY": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "tensorflow"
    lines = [line for line in found.stderr.splitlines() if "upfirdn2d, bias_act and conv2d" in line]
    assert len(lines) == 1
    assert "`tf-sg2 build-ops`" in lines[0]


def test_a_build_without_cuda_is_not_used_beside_a_gpu(monkeypatch):
    loaded = loader.load()
    for_cpu = dataclasses.replace(loaded, build=dataclasses.replace(loaded.build, cuda=False))
    monkeypatch.setattr(loader, "load", lambda: for_cpu)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [f"/device:{kind}:0"])
    native_missing.cache_clear()
    try:
        assert native_missing() == "the build has no CUDA kernels, and there is a GPU"
    finally:
        native_missing.cache_clear()


def test_results_do_not_depend_on_the_number_of_threads(tmp_path):
    """To the bit, sums over pixels included."""
    results = []
    for threads in (1, 4):
        path = tmp_path / f"{threads}.npy"
        subprocess.run([sys.executable, "-c", THREADS_PROBE, path, str(threads)], check=True)
        results.append(path.read_bytes())
    assert results[0] == results[1]


def test_a_build_for_another_tensorflow_or_other_sources_is_not_found(monkeypatch, tmp_path):
    assert build.find_builds()
    with monkeypatch.context() as other:
        other.setattr(build, "tensorflow_version", lambda: "1.0")
        assert not build.find_builds()
    sources = tmp_path / "custom_ops"
    shutil.copytree(build.SOURCES, sources)
    monkeypatch.setattr(build, "SOURCES", sources)
    assert build.find_builds()
    (sources / "common" / "types.h").rename(sources / "bias_act" / "types.h")
    assert not build.find_builds()
    (sources / "bias_act" / "types.h").rename(sources / "common" / "types.h")
    assert build.find_builds()
    with (sources / "upfirdn2d" / "cpu.cc").open("a") as file:
        file.write("// other")
    assert not build.find_builds()


def test_building_again_does_nothing(monkeypatch):
    found = build.find_builds()[0]
    monkeypatch.setattr(build, "_compile", None)  # Not callable.
    said = []
    assert build.build(cuda=found.cuda, say=said.append) == found
    assert said == [f"up to date: {found.library}"]


def test_no_build_is_missing_here():
    assert native_missing() is None
