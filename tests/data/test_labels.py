"""Labels of a data set: refused values, and the memory that many classes need."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from tf_sg2.data.labels import MOST_CLASSES, Labels, format_labels, parse_labels
from tf_sg2.errors import InputError

NAMES = ["a.png", "b.png"]


def parsed(values):
    text = json.dumps({"labels": list(zip(NAMES, values, strict=True))})
    return parse_labels(text.encode(), NAMES, "dataset.json")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 2**63], "class of b.png is 9223372036854775808"),
        ([0, 10**12], f"class of b.png is 1000000000000; classes are below {MOST_CLASSES}"),
        ([[0, 1], [0, float("nan")]], "label of image 1 is not finite"),
        ([[0, 1], [0, 1e39]], "label of image 1 is not finite"),
        ([[0, 1], [0, 2**2000]], "all class numbers, or all vectors"),
        ([["0", "1"], ["1", "0"]], "all class numbers, or all vectors"),
    ],
)
def test_unusable_values_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        parsed(values)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (0, 1, r"dataset\.json gives a\.png two labels, 0 and 1; keep one"),
        ([0, 1], [1, 0], r"gives a\.png two labels, \[0, 1\] and \[1, 0\]; keep one"),
        (0, list(range(1000)), r"gives a.png two labels, 0 and \[0, 1, .{40,60}\.\.\.; keep one"),
    ],
)
def test_two_labels_of_one_image_that_differ_are_refused(first, second, message):
    text = json.dumps({"labels": [["a.png", first], ["b.png", 0], ["a.png", second]]})
    with pytest.raises(InputError, match=message):
        parse_labels(text.encode(), NAMES, "dataset.json")


def test_an_equal_label_may_be_repeated():
    text = json.dumps({"labels": [["a.png", 1], ["b.png", 0], ["a.png", 1]]})
    labels = parse_labels(text.encode(), NAMES, "dataset.json")
    assert labels.class_numbers() == [1, 0]


@pytest.mark.parametrize("pairs", [[[["a.png"], 1]], [["a.png"]], ["a.png"], 3, [["a", 1, 2]]])
def test_labels_that_are_no_pairs_are_refused(pairs):
    text = json.dumps({"labels": pairs})
    with pytest.raises(InputError, match=r"not a list of \[file name, label\] pairs"):
        parse_labels(text.encode(), NAMES, "dataset.json")


def test_deep_json_is_refused():
    text = b'{"labels": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(InputError, match=r"dataset\.json is not a JSON object"):
        parse_labels(text, NAMES, "dataset.json")


@pytest.mark.parametrize("dim", [3, 4])
def test_one_hot_vectors_are_kept_and_written_as_classes(dim):
    vectors = np.eye(dim, dtype=np.float32)[[0, 2]]
    labels = parsed(vectors.tolist())
    np.testing.assert_array_equal(np.stack([labels.row(0), labels.row(1)]), vectors)
    values = [value for _, value in json.loads("".join(format_labels(NAMES, labels)))["labels"]]
    # Class numbers would lose the last of four classes.
    assert values == ([0, 2] if dim == 3 else vectors.tolist())


def test_soft_vectors_are_written_as_they_are():
    vectors = np.array([[0.1, 2.5], [0, -1]], np.float32)
    labels = parsed(vectors.tolist())
    text = "".join(format_labels(NAMES, labels))
    again = parse_labels(text.encode(), NAMES, "dataset.json")
    np.testing.assert_array_equal(np.stack([again.row(0), again.row(1)]), vectors)


@pytest.mark.parametrize("last", [999, pytest.param(500, marks=pytest.mark.slow)])
def test_many_classes_take_little_memory(last):
    count = 4000
    classes = np.arange(count) % last
    classes[0] = last
    vectors = np.zeros((count, 1000), np.float32)
    vectors[np.arange(count), classes] = 1
    names = [f"{index}.png" for index in range(count)]
    tracemalloc.start()
    try:
        labels = Labels.of_vectors(vectors, "a.labels")
        largest = max(len(piece) for piece in format_labels(names, labels))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < vectors.nbytes / 2
    assert largest < vectors.nbytes / 2
