"""Multiply-adds against counts made by hand, and through calls, branches, loops and gradients."""

import pytest
import tensorflow as tf

from tf_sg2.errors import InputError
from tf_sg2.inspect.multiply_adds import count


def counted(function, *shapes):
    specs = [tf.TensorSpec(shape) for shape in shapes]
    return count(tf.function(function).get_concrete_function(*specs))


def convolve(x, weight):
    return tf.nn.conv2d(x, weight, 1, "SAME")


X, WEIGHT = [2, 8, 10, 3], [3, 3, 3, 5]
ONE = 2 * 8 * 10 * 9 * 3 * 5  # Multiply-adds of convolve(X, WEIGHT).


def test_convolution_counts_taps_times_channels_for_each_output_pixel():
    result = counted(convolve, X, WEIGHT)
    assert [(row.op, row.kind) for row in result.rows] == [("Conv2D", "convolution")]
    assert result.convolution == ONE
    assert result.matrix == result.filtering == 0


def test_strided_convolution_counts_the_pixels_it_keeps():
    result = counted(lambda x, w: tf.nn.conv2d(x, w, 2, "VALID"), [2, 9, 11, 3], WEIGHT)
    assert result.convolution == 2 * 4 * 5 * 9 * 3 * 5


def test_grouped_convolution_counts_the_channels_of_a_group():
    result = counted(lambda x, w: tf.nn.conv2d(x, w, 1, "SAME"), [2, 8, 8, 6], [3, 3, 2, 9])
    assert result.convolution == 2 * 64 * 9 * 2 * 9


def test_transposed_convolution_counts_the_pixels_of_its_input():
    def function(x, weight):
        return tf.nn.conv2d_transpose(x, weight, [2, 17, 21, 5], 2, "VALID")

    assert counted(function, X, [3, 3, 5, 3]).convolution == ONE


@pytest.mark.parametrize(("stride", "pixels"), [(1, 8 * 10), (2, 4 * 5)])
def test_gradients_of_a_convolution_count_as_its_forward_pass(stride, pixels):
    def function(x, weight):
        with tf.GradientTape() as tape:
            tape.watch([x, weight])
            y = tf.reduce_sum(tf.square(tf.nn.conv2d(x, weight, stride, "SAME")))
        return tape.gradient(y, [x, weight])

    result = counted(function, X, WEIGHT)
    one = 2 * pixels * 9 * 3 * 5
    assert sorted((row.op, row.multiply_adds) for row in result.rows) == [
        ("Conv2D", one),
        ("Conv2DBackpropFilter", one),
        ("Conv2DBackpropInput", one),
    ]


def test_operations_without_effect_are_not_counted():
    def function(x, weight):
        with tf.GradientTape() as tape:
            tape.watch(weight)
            y = tf.reduce_sum(tf.square(convolve(x, weight)))
        return tape.gradient(y, weight)

    # The gradient function of Conv2D makes the input's gradient too; nothing needs it.
    assert counted(function, X, WEIGHT).convolution == 2 * ONE


def test_operations_with_side_effects_are_counted():
    variable = tf.Variable(tf.zeros([2, 8, 10, 5]))

    def function(x, weight):
        variable.assign_add(convolve(x, weight))

    assert counted(function, X, WEIGHT).convolution == ONE


def test_second_order_convolutions_are_counted():
    def function(x, weight):
        with tf.GradientTape() as outer:
            outer.watch(weight)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(tf.tanh(convolve(x, weight)))
            penalty = tf.reduce_sum(tf.square(inner.gradient(y, x)))
        return outer.gradient(penalty, weight)

    # Forward, input gradient; through the latter to the weight and to its upstream; to the weight.
    assert counted(function, X, WEIGHT).convolution == 5 * ONE


def test_depthwise_convolutions_are_filtering():
    def function(x, kernel):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = tf.nn.depthwise_conv2d(x, kernel, [1, 2, 2, 1], "VALID")
            total = tf.reduce_sum(tf.square(y))
        return tape.gradient(total, [x, kernel])

    result = counted(function, [2, 10, 12, 3], [4, 4, 3, 1])
    assert [row.multiply_adds for row in result.rows] == [2 * 4 * 5 * 3 * 16] * 3
    assert result.filtering == 3 * 2 * 4 * 5 * 3 * 16
    assert result.convolution == 0


@pytest.mark.parametrize(
    ("function", "shapes", "expected"),
    [
        (tf.matmul, ([3, 4], [4, 5]), 60),
        (lambda a, b: tf.matmul(a, b, transpose_a=True), ([4, 3], [4, 5]), 60),
        (lambda a, b: tf.matmul(a, b, transpose_b=True), ([2, 3, 4], [2, 5, 4]), 120),
        (lambda a, b: tf.matmul(a, b, transpose_a=True), ([2, 4, 3], [4, 5]), 120),
        (lambda a, b: tf.einsum("nhwi,nio->nhwo", a, b), ([2, 3, 4, 5], [2, 5, 6]), 720),
        (lambda a, b: tf.einsum("...i,io->...o", a, b), ([2, 3, 4, 5], [5, 6]), 720),
    ],
)
def test_matrix_products_count_inner_times_outer(function, shapes, expected):
    result = counted(function, *shapes)
    assert result.matrix == expected
    assert len(result.rows) == 1


def test_called_functions_count_once_a_call():
    inner = tf.function(convolve)

    def function(x, weight):
        return inner(x, weight) + inner(x * 2.0, weight)

    result = counted(function, X, WEIGHT)
    assert result.convolution == 2 * ONE
    assert all(row.name.endswith("/Conv2D") for row in result.rows)


def test_gradient_through_a_called_function_counts_its_backward_pass():
    inner = tf.function(convolve)

    def function(x, weight):
        with tf.GradientTape() as tape:
            tape.watch([x, weight])
            y = tf.reduce_sum(tf.square(inner(x, weight)))
        return tape.gradient(y, [x, weight])

    assert counted(function, X, WEIGHT).convolution == 3 * ONE


def test_loop_counts_one_pass_and_says_so():
    def function(x, weight):
        return tf.while_loop(
            lambda i, x: i < 7,
            lambda i, x: (i + 1, convolve(x, weight)),
            [tf.constant(0), x],
        )[1]

    result = counted(function, X, [3, 3, 3, 3])
    assert result.convolution == 2 * 80 * 81
    assert result.loops == tuple(row.name for row in result.rows)
    assert not counted(convolve, X, WEIGHT).loops


def test_conditional_counts_the_dearer_branch():
    def function(x, weight):
        once = convolve(x, weight)
        return tf.cond(
            tf.reduce_sum(x) > 0, lambda: convolve(convolve(x, weight), weight), lambda: once
        )

    assert counted(function, X, [3, 3, 3, 3]).convolution == 3 * 2 * 80 * 81


def test_unknown_shape_is_refused_by_name():
    with pytest.raises(InputError, match=r"Conv2D \(Conv2D\).*\[None, 8, 10, 3\].*fixed batch"):
        counted(convolve, [None, 8, 10, 3], WEIGHT)
