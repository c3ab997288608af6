"""`tf-sg2 dataset`: checks a data set and converts it between folder, zip and TFRecords."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from tf_sg2.commands import flags as command_line
from tf_sg2.errors import InputError, printable

USAGE = """\
Checks every image of a data set and, with --dest, writes the usable ones in one size and format.

  tf-sg2 dataset --source=photos --check
  tf-sg2 dataset --source=photos --dest=photos.zip --size=96x160
  tf-sg2 dataset --source=photos.zip --dest=records/photos.tfrecords --size=256x256
  tf-sg2 dataset --source=cards:count=2000,seed=1,size=96x160 --dest=cards.zip

A report says what was done to which number of images, which were left out, and why; it is also
written as JSON, into the folder or beside the file. Nothing is overwritten, and a conversion that
fails or is stopped leaves no file behind (after kill -9, delete the hidden folder .NAME.*). A check
ends with status 1 if the data set must be converted before it can be trained on.

TFRecords of a square power of two are official ones: NAME-rNN.tfrecords for every level down to
4x4, such as photos-r08.tfrecords for 256x256, and NAME-rxx.labels. NAME.tfrecords stands for all of
them. Of any other size they are one file, which only tf-sg2 reads. Files validation-*.tfrecords
in a folder are not part of its training set."""


def _define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "source",
        None,
        "A folder of images (PNG, JPEG, WebP, BMP), a .zip of them, a .tfrecords file or a "
        "folder of those, or cards:count=...,seed=...,size=... Required.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "dest",
        None,
        "A new folder, .zip or .tfrecords; without it, only checks.",
        flag_values=values,
    )
    flags.DEFINE_bool("check", False, "Only check, write nothing.", flag_values=values)
    flags.DEFINE_string(
        "size",
        None,
        "HEIGHTxWIDTH, or one number for a square; default: the size of the first usable image, "
        "images of other sizes are left out.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "crop",
        "center",
        ["center", "stretch", "none"],
        "What to do where the aspect ratio differs: cut out the centre, stretch, or leave the "
        "image out.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "channels",
        None,
        "1 (gray), 3 (RGB) or 4 (RGBA); default: 3, or for a check what training would read.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "max_images", None, "Stop after this number of usable images.", flag_values=values
    )


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 dataset` with the arguments that follow its name."""
    values = command_line.parse("dataset", arguments, _define_flags, usage=USAGE)
    if not values.source:
        raise InputError("--source is missing; tf-sg2 dataset --help explains it")
    if values.check and values.dest:
        raise InputError("--check writes nothing; leave out either --check or --dest")

    from tf_sg2.config import parse_image_size
    from tf_sg2.data.conversion import convert

    with command_line.signals_as_exceptions():
        report = convert(
            values.source,
            values.dest,
            image_size=None if values.size is None else parse_image_size(values.size),
            crop=values.crop,
            image_channels=values.channels,
            max_images=values.max_images,
        )
    print(printable(str(report), keep="\n"))
    if values.dest is None and not report.usable_as_is:
        raise SystemExit(1)
