"""Divides a data set into sets that share no image and no group: training, hold-out and others.

The set of an image is a function of its key: the name of its file, or the value of its group. So
adding images moves no image from one set to another.
"""

from tf_sg2.data.split.parts import Split, Subset, open_split, split

__all__ = ["Split", "Subset", "open_split", "split"]
