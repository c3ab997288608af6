"""Pickles of other programs, read as data: an interpreter with an allow-list of exact names.

Nothing here imports a module that a file names, or calls a function of one. A name outside the
list ends the reading with one sentence.
"""

from tf_sg2.weights.pickles.torch_files import read_state_dict

__all__ = ["read_state_dict"]
