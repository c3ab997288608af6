"""Training in processes of their own, which tests may kill."""

from __future__ import annotations

import subprocess
import sys

import tensorflow as tf

from tf_sg2 import config

# Trains the configuration of argv[2] in the folder argv[1], deterministically, as a program.
PROGRAM = """
import sys
import tensorflow as tf
tf.config.experimental.enable_op_determinism()
from tf_sg2 import config
from tf_sg2.training.loop import train
train(config.load(sys.argv[2]), sys.argv[1], progress=False)
"""


def start(run, settings, folder):
    path = folder / f"{run.name}.json"
    path.write_text(config.to_json(settings))
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(run), str(path)])


def checkpoint_values(run, number):
    reader = tf.train.load_checkpoint(str(run / "checkpoints" / f"checkpoint-{number}"))
    names = sorted(reader.get_variable_to_shape_map())
    return {name: reader.get_tensor(name) for name in names if "_CHECKPOINTABLE" not in name}
