"""The command `tf-sg2 dataset`: checks a data set and converts it to another format."""

from __future__ import annotations

from collections.abc import Sequence

from tf_sg2.commands.exit_status import signals_as_exceptions
from tf_sg2.commands.flags import CommandFlags, FlagValues, parse
from tf_sg2.config import parse_image_size
from tf_sg2.errors import InputError, printable

USAGE = """
Checks every image of a data set. With --dest, writes the usable images in one size and format.

  tf-sg2 dataset --source=photos --check
  tf-sg2 dataset --source=photos --dest=photos.zip --size=96x160
  tf-sg2 dataset --source=photos.zip --dest=records/photos.tfrecords --size=256x256
  tf-sg2 dataset --source=cards:count=2000,seed=1,size=96x160 --dest=cards.zip

With --split, --dest is a folder with a zip per set. A hash of each image's file name decides its
set. With --group, a column of groups.csv decides, so images of one group are never in two sets:

  tf-sg2 dataset --source=photos --dest=sets --split=holdout:0.1,reference:0.1 --group=person

groups.csv lies at the top of the source. Its first column is called file and holds the paths of the
images; further columns, such as person, are groups.

A report counts the images that were changed and those that were left out, with the reasons. A
conversion also writes it as JSON, into the folder or beside the file. Nothing is overwritten. A
conversion that fails or is stopped leaves no file behind; only kill -9 leaves the hidden folder
.NAME.*, which you can delete. A check ends with status 1 if the data set must be converted before
training.

TFRecords of a square power of two have the official form: NAME-rNN.tfrecords for every level down
to 4x4, such as photos-r08.tfrecords for 256x256, and NAME-rxx.labels. NAME.tfrecords names all of
them. TFRecords of any other size are one file, which only tf-sg2 reads. Files
validation-*.tfrecords in a folder are not part of its training set.
"""


def define_flags(flags: CommandFlags) -> None:
    """Defines the flags of the command."""
    flags.string(
        "source",
        None,
        "folder of images (PNG, JPEG, WebP, BMP), .zip of images, .tfrecords file or a folder of "
        "them, or cards:count=...,seed=...,size=...",
        required=True,
    )
    flags.string("dest", None, "new folder, .zip or .tfrecords; default: only check")
    flags.boolean("check", False, "only check, write nothing")
    flags.string(
        "size",
        None,
        "HEIGHTxWIDTH, or one number for a square; default: the size of the first usable image, "
        "and images of other sizes are left out",
    )
    flags.enum(
        "crop",
        "center",
        ["center", "stretch", "none"],
        "for an image of another aspect ratio; center: crop the centre; stretch: distort the "
        "image; none: leave it out",
    )
    flags.integer(
        "channels",
        None,
        "1 (gray), 3 (RGB) or 4 (RGBA); default: 3; a check takes what training would read",
    )
    flags.integer("max_images", None, "stop after this number of usable images")
    flags.string(
        "split", None, "sets besides training and their shares, such as holdout:0.1,reference:0.1"
    )
    flags.string("group", "", "with --split: column of groups.csv whose images stay together")


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 dataset`."""
    values = parse("dataset", arguments, define_flags, USAGE)
    if values.check and values.dest:
        raise InputError("--check writes nothing; leave out either --check or --dest")

    if values.split is not None:
        _write_sets(values)
        return
    if values.group:
        raise InputError("--group is only for --split; add --split, or leave --group out")

    from tf_sg2.data.conversion import convert

    with signals_as_exceptions():
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


def _write_sets(values: FlagValues) -> None:
    from tf_sg2.data.split.sets import convert_sets
    from tf_sg2.data.split.shares import parse_shares

    shares = parse_shares(values.split)
    if not values.dest:
        raise InputError("--split needs --dest, the folder of the sets")
    if values.max_images is not None:
        raise InputError("--max_images has no meaning with --split; leave one of them out")
    with signals_as_exceptions():
        reports = convert_sets(
            values.source,
            values.dest,
            shares,
            values.group,
            image_size=None if values.size is None else parse_image_size(values.size),
            crop=values.crop,
            image_channels=values.channels,
        )
    for report in reports.values():
        print(printable(str(report), keep="\n"))
