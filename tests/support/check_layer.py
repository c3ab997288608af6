"""One proof for every layer of the properties that Keras and training need, on both Keras versions.

`check_layer` proves serialisation, weights, equality of graph and eager mode, unknown and empty
batches, and dtypes. It compares first and second gradients with central differences in float64.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from tf_sg2.compat import raw_variable

STEP = 1e-7  # Of central differences, in float64.


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Layers constructed in the block compute in `name`."""
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy("float32")


class Wrapper(keras.Model):
    """A model of one layer, to save it."""

    def __init__(self, layer: keras.layers.Layer):
        super().__init__()
        self.layer = layer

    def call(self, inputs):
        return self.layer(*inputs)


def check_layer(
    factory: Callable[..., keras.layers.Layer],
    inputs: Sequence[np.ndarray],
    weights: Mapping[str, tuple[tuple[int, ...], bool]],
    output_shape: tuple[int, ...],
    folder: Any,
    call: Mapping[str, Any] | None = None,
    dtypes: Sequence[str] = ("float32", "float64", "mixed_float16"),
    empty_batch: bool = True,
) -> None:
    """Proves a layer.

    Args:
        factory: builds the layer; called once per copy.
        inputs: arrays for the call, batch first.
        weights: attribute path of every weight -> (shape, whether it is trained). A number in a
            path is an index.
        output_shape: of `layer(*inputs)`.
        folder: for saved files.
        call: further arguments of the call.
        dtypes: dtype policies that the layer supports.
        empty_batch: whether a batch without samples is tried. TensorFlow's Conv2D returns the
            wrong shape for it on CPUs, so layers that hold a Conv2D leave it out.
    """
    call = dict(call or {})
    check_dtypes(factory, inputs, output_shape, call, dtypes)
    layer = randomised(factory, inputs, call)
    check_weights(layer, weights)
    expected = layer(*typed(inputs, tf.float32), **call)
    check_serialisation(layer, inputs, expected, call)
    check_saving(layer, factory, inputs, expected, call, folder)
    check_graph(layer, inputs, expected, call, empty_batch)
    check_gradients(factory, inputs, call)


def typed(inputs: Sequence[np.ndarray], dtype: Any) -> list[tf.Tensor]:
    return [tf.constant(np.asarray(x), dtype) for x in inputs]


def randomised(factory, inputs, call, dtype=tf.float32) -> keras.layers.Layer:
    """Returns a built layer in which no weight is zero or one."""
    keras.utils.set_random_seed(10)
    layer = factory()
    layer(*typed(inputs, dtype), **call)
    rng = np.random.default_rng(11)
    layer.set_weights([w + 0.3 * rng.normal(size=np.shape(w)) for w in layer.get_weights()])
    return layer


def attribute(layer: Any, path: str) -> Any:
    """Returns an attribute by its path, such as `fc.0.weight` where `fc` is a list."""
    return functools.reduce(
        lambda part, name: part[int(name)] if name.isdigit() else getattr(part, name),
        path.split("."),
        layer,
    )


def check_weights(layer, weights) -> None:
    found = {path: attribute(layer, path) for path in weights}
    assert {id(w) for w in layer.weights} == {id(w) for w in found.values()}
    for path, (shape, trainable) in weights.items():
        variable = found[path]
        assert tuple(variable.shape) == shape, path
        assert variable.trainable == trainable, path
        assert any(variable is w for w in layer.trainable_weights) == trainable, path
        assert variable.name.split("/")[-1].split(":")[0] == path.rpartition(".")[2]
        assert tf.as_dtype(variable.dtype) == tf.float32


def check_serialisation(layer, inputs, expected, call) -> None:
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config
    text = json.dumps(keras.utils.serialize_keras_object(layer))
    copy = keras.utils.deserialize_keras_object(json.loads(text))
    assert type(copy) is type(layer)
    assert copy.name == layer.name
    copy(*typed(inputs, tf.float32), **call)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(*typed(inputs, tf.float32), **call), expected)


def check_saving(layer, factory, inputs, expected, call, folder) -> None:
    path = str(folder / f"{layer.name}.weights.h5")
    first, second = Wrapper(layer), Wrapper(factory())
    for wrapper in (first, second):
        wrapper(typed(inputs, tf.float32))
    first.save_weights(path)
    second.load_weights(path)
    np.testing.assert_array_equal(second.layer(*typed(inputs, tf.float32), **call), expected)


def check_graph(layer, inputs, expected, call, empty_batch) -> None:
    scale = np.abs(expected).max()
    signature = [tf.TensorSpec([None, *np.shape(x)[1:]], tf.float32) for x in inputs]
    unknown = tf.function(lambda *x: layer(*x, **call), input_signature=signature)
    known = tf.function(lambda *x: layer(*x, **call))
    for run in (unknown, known):
        np.testing.assert_allclose(run(*typed(inputs, tf.float32)), expected, atol=2e-6 * scale)
    empty = typed([np.asarray(x)[:0] for x in inputs], tf.float32)
    for run in (unknown, known) if empty_batch else ():
        assert run(*empty).shape == (0, *expected.shape[1:])


def check_dtypes(factory, inputs, output_shape, call, dtypes) -> None:
    for name in dtypes:
        with dtype_policy(name):
            layer = factory()
        dtype = layer.compute_dtype
        y = layer(*typed(inputs, dtype), **call)
        assert y.dtype == dtype, name
        assert tuple(y.shape) == output_shape, name
        assert all(w.dtype == layer.variable_dtype for w in layer.weights), name
        assert np.all(np.isfinite(tf.cast(y, tf.float64))), name


def check_gradients(factory, inputs, call) -> None:
    """Compares first and second derivatives along random directions with central differences.

    The loss is a weighted sum of squares, so every second derivative exists: `None` is an error.
    """
    with dtype_policy("float64"):
        layer = randomised(factory, inputs, call, tf.float64)
    rng = np.random.default_rng(12)
    points = [tf.Variable(x) for x in typed(inputs, tf.float64)]
    names = [f"input {i}" for i in range(len(points))]
    for variable in layer.trainable_weights:
        names.append(getattr(variable, "path", variable.name))
        points.append(raw_variable(variable))
    scale = tf.constant(rng.normal(size=layer(*points[: len(inputs)], **call).shape))
    directions = [tf.constant(rng.normal(size=p.shape)) for p in points]

    def loss() -> tf.Tensor:
        return tf.reduce_sum(scale * tf.square(layer(*points[: len(inputs)], **call)))

    def gradients():
        with tf.GradientTape() as tape:
            value = loss()
        return value, tape.gradient(value, points)

    @tf.function(autograph=False)
    def value_and_slope():
        value, first = gradients()
        return value, _dot(first, directions)

    @tf.function(autograph=False)
    def both():
        with tf.GradientTape() as tape:
            _, first = gradients()
            assert not _absent(first, names), f"no gradient by {_absent(first, names)}"
            slope = _dot(first, directions)
        second = tape.gradient(slope, points)
        assert not _absent(second, names), f"no second gradient by {_absent(second, names)}"
        return first, second

    first, second = both()
    for i, (point, name) in enumerate(zip(points, names, strict=True)):
        value, change = tf.identity(point), tf.constant(rng.normal(size=point.shape))
        ends = []
        for sign in (1, -1):
            point.assign(value + sign * STEP * change)
            ends.append([float(x) for x in value_and_slope()])
        point.assign(value)
        for order, gradient, high, low in zip((1, 2), (first[i], second[i]), *ends, strict=True):
            actual = float(tf.reduce_sum(gradient * change))
            numerical = (high - low) / (2 * STEP)
            slack = 1e-5 * float(tf.norm(gradient) * tf.norm(change)) + 1e-7 * abs(high)
            assert abs(actual - numerical) <= slack, (
                f"derivative of order {order} by {name}: {actual}, numerically {numerical}"
            )


def _dot(first, second) -> tf.Tensor:
    return tf.add_n([tf.reduce_sum(a * b) for a, b in zip(first, second, strict=True)])


def _absent(gradients, names) -> list[str]:
    return [name for gradient, name in zip(gradients, names, strict=True) if gradient is None]
