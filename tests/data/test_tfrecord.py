"""Official TFRecords, against TensorFlow's own writer and reader."""

from __future__ import annotations

import os
import resource
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from tf_sg2.data import open_source
from tf_sg2.data.labels import Labels
from tf_sg2.data.source import ImageSource
from tf_sg2.data.tfrecord import write_labels, write_levels, write_records
from tf_sg2.errors import InputError

COUNT = 9
PIXELS = np.random.default_rng(3).integers(0, 256, (COUNT, 16, 24, 3), dtype=np.uint8)


def example(pixels):
    """An official record, built from plain TensorFlow."""
    planes = pixels.transpose(2, 0, 1)
    features = {
        "shape": tf.train.Feature(int64_list=tf.train.Int64List(value=planes.shape)),
        "data": tf.train.Feature(bytes_list=tf.train.BytesList(value=[planes.tobytes()])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_official(folder, pixels=PIXELS, labels=None):
    """A data set with three levels of detail."""
    folder.mkdir(exist_ok=True)
    for level in range(3):
        path = str(folder / f"cards-r{5 - level:02d}.tfrecords")
        with tf.io.TFRecordWriter(path) as writer:
            for image in pixels:
                writer.write(example(image[:: 2**level, :: 2**level]))
    if labels is not None:
        with open(folder / "cards-rxx.labels", "wb") as file:
            np.save(file, labels)
    return str(folder)


def test_highest_resolution_and_labels_are_read(tmp_path):
    labels = np.random.default_rng(4).random((COUNT, 3), np.float32)
    folder = write_official(tmp_path / "set", labels=labels)
    for spec in (folder, f"{folder}/cards-r05.tfrecords"):
        source = open_source(spec)
        assert isinstance(source, ImageSource)
        assert (len(source), source.image_size, source.image_channels) == (COUNT, (16, 24), 3)
        assert source.label_dim == 3
        for index in range(COUNT):
            np.testing.assert_array_equal(source.image(index), PIXELS[index])
            np.testing.assert_array_equal(source.label(index), labels[index])
        source.verify()


def test_threads_read_at_once(tmp_path):
    source = open_source(write_official(tmp_path / "set"))
    indices = np.random.default_rng(2).integers(0, COUNT, 500).tolist()
    with ThreadPoolExecutor(8) as pool:
        for index, image in zip(indices, pool.map(source.image, indices), strict=True):
            np.testing.assert_array_equal(image, PIXELS[index])


def test_another_format_is_refused(tmp_path):
    folder = write_official(tmp_path / "set")
    with pytest.raises(InputError, match=r"16x24 .*not 64x64.*tf-sg2 dataset"):
        open_source(folder, image_size=(64, 64))
    with pytest.raises(InputError, match="3 channels, not 1"):
        open_source(folder, image_channels=1)


def test_several_files_follow_one_another(tmp_path):
    write_records(str(tmp_path / "train-00000.tfrecord"), PIXELS[:4])
    write_records(str(tmp_path / "train-00001.tfrecord"), PIXELS[4:])
    source = open_source(str(tmp_path))
    read = np.stack([source.image(index) for index in range(len(source))])
    np.testing.assert_array_equal(read, PIXELS)


def test_written_file_is_what_tensorflow_reads(tmp_path):
    path = str(tmp_path / "a-r05.tfrecords")
    write_records(path, PIXELS)
    labels = Labels.of_vectors(np.eye(COUNT, 4, dtype=np.float32), "labels")
    write_labels(str(tmp_path / "a-rxx.labels"), labels)
    description = {
        "shape": tf.io.FixedLenFeature([3], tf.int64),
        "data": tf.io.FixedLenFeature([], tf.string),
    }
    records = list(tf.data.TFRecordDataset(path))
    assert len(records) == COUNT
    for record, pixels in zip(records, PIXELS, strict=True):
        parsed = tf.io.parse_single_example(record, description)
        image = tf.reshape(tf.io.decode_raw(parsed["data"], tf.uint8), parsed["shape"])
        np.testing.assert_array_equal(tf.transpose(image, [1, 2, 0]), pixels)
    np.testing.assert_array_equal(np.load(tmp_path / "a-rxx.labels"), np.eye(COUNT, 4))
    assert open_source(path).label_dim == 4


def test_damage_is_found_by_verify(tmp_path):
    path = tmp_path / "a.tfrecords"
    write_records(str(path), PIXELS)
    data = bytearray(path.read_bytes())
    size = len(data) // COUNT
    data[4 * size + size // 2] ^= 1
    path.write_bytes(data)
    source = open_source(str(path))
    with pytest.raises(InputError, match=r"record 4 of .*a\.tfrecords is damaged"):
        source.verify()


@pytest.mark.parametrize("cut", [1, 5, 500])
def test_truncated_file_is_refused(tmp_path, cut):
    path = tmp_path / "a.tfrecords"
    write_records(str(path), PIXELS)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(InputError, match=r"a\.tfrecords is truncated.* record 8 "):
        open_source(str(path))


def test_foreign_files_are_refused(tmp_path):
    (tmp_path / "text.tfrecords").write_text("this is not a record file, whatever its name")
    with pytest.raises(InputError, match="truncated or not a plain TFRecord"):
        open_source(str(tmp_path / "text.tfrecords"))
    (tmp_path / "empty.tfrecords").write_bytes(b"")
    with pytest.raises(InputError, match="holds no records"):
        open_source(str(tmp_path / "empty.tfrecords"))
    with tf.io.TFRecordWriter(str(tmp_path / "other.tfrecords")) as writer:
        writer.write(tf.train.Example().SerializeToString())
    with pytest.raises(InputError, match=r"record 0 of .*not an official StyleGAN2 record"):
        open_source(str(tmp_path / "other.tfrecords"))


def test_labels_that_do_not_fit_are_refused(tmp_path):
    folder = write_official(tmp_path / "set", labels=np.zeros((COUNT - 1, 3), np.float32))
    with pytest.raises(InputError, match=r"cards-rxx\.labels .*each of the 9 images"):
        open_source(folder)
    (tmp_path / "set" / "cards-rxx.labels").write_bytes(b"rubbish")
    with pytest.raises(InputError, match=r"cards-rxx\.labels is not a \.npy array"):
        open_source(folder)


def test_fingerprint_sees_pixels_of_the_same_size(tmp_path):
    first = open_source(write_official(tmp_path / "a")).fingerprint()
    assert open_source(write_official(tmp_path / "b")).fingerprint() == first
    changed = PIXELS.copy()
    changed[3, 5, 7, 1] ^= 1
    assert open_source(write_official(tmp_path / "c", changed)).fingerprint() != first


def test_validation_files_are_no_part_of_the_training_set(tmp_path):
    labels = np.random.default_rng(5).random((COUNT, 3), np.float32)
    folder = tmp_path / "set"
    write_official(folder, labels=labels)
    write_records(str(folder / "validation-r05.tfrecords"), PIXELS[:4])
    write_labels(str(folder / "validation-rxx.labels"), Labels.of_vectors(labels[:4], "labels"))
    source = open_source(str(folder))
    assert (len(source), source.label_dim) == (COUNT, 3)
    assert len(open_source(str(folder / "validation-r05.tfrecords"))) == 4
    for path in folder.glob("cards-*"):
        path.unlink()
    with pytest.raises(InputError, match=r"holds only validation-\*\.tfrecords"):
        open_source(str(folder))


def test_the_wanted_level_is_read(tmp_path):
    folder = write_official(tmp_path / "set")
    source = open_source(folder, image_size=(8, 12))
    np.testing.assert_array_equal(source.image(3), PIXELS[3, ::2, ::2])
    assert open_source(folder).image_size == (16, 24)


def test_hidden_files_are_passed_over(tmp_path):
    folder = write_official(tmp_path / "set")
    (tmp_path / "set" / "._cards-r05.tfrecords").write_bytes(b"what macOS adds")
    assert len(open_source(folder)) == COUNT


def test_levels_are_two_by_two_means_of_unrounded_values(tmp_path):
    pixels = np.random.default_rng(6).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    pixels[0, :4, :4] = [[[0], [1], [1], [1]], [[0], [1], [1], [0]]] * 2  # halves, and sums of them
    paths = [tmp_path / f"a-r{level:02d}.tfrecords" for level in (5, 4, 3, 2)]
    write_levels([str(path) for path in paths], pixels)
    mean = pixels.astype(np.float64)
    for path in paths:
        source = open_source(str(path))
        assert source.image_size == mean.shape[1:3]
        for index in range(3):
            np.testing.assert_array_equal(source.image(index), np.rint(mean[index]))
        mean = (
            mean[:, ::2, ::2] + mean[:, ::2, 1::2] + mean[:, 1::2, ::2] + mean[:, 1::2, 1::2]
        ) / 4


def test_labels_that_are_not_finite_are_refused(tmp_path):
    labels = np.zeros((COUNT, 3), np.float32)
    labels[4, 1] = np.nan
    folder = write_official(tmp_path / "set", labels=labels)
    with pytest.raises(InputError, match=r"cards-rxx\.labels: the label of image 4 is not finite"):
        open_source(folder)
    np.savez(tmp_path / "set" / "cards-rxx", labels)
    (tmp_path / "set" / "cards-rxx.npz").rename(tmp_path / "set" / "cards-rxx.labels")
    with pytest.raises(InputError, match=r"cards-rxx\.labels is not a \.npy array"):
        open_source(folder)


def test_full_disk_is_one_sentence(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        with pytest.raises(InputError, match=r"a\.tfrecords cannot be written .*File too large"):
            write_records(str(tmp_path / "a.tfrecords"), PIXELS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_names_that_are_not_utf8_are_written_and_read(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff-r05.tfrecords")
    write_records(path, PIXELS)
    source = open_source(path)
    source.verify()
    np.testing.assert_array_equal(source.image(2), PIXELS[2])
