"""The command `tf-sg2 train`: turns flags into a configuration and calls `loop.train`."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence

from tf_sg2 import config
from tf_sg2.commands.flags import CommandFlags, FlagValues, parse
from tf_sg2.config import Config, presets
from tf_sg2.config.image_size import parse_image_size
from tf_sg2.errors import InputError
from tf_sg2.runs.directory import RunDirectory

USAGE = """
Trains StyleGAN2, or resumes a run: the same command goes on from the run's last checkpoint.

  tf-sg2 train --run=runs/cards --preset=cards --data=data/cards.zip
  tf-sg2 train --run=runs/faces --preset=config-f --data=faces.zip --training.r1_gamma=5

The data set gives the image size, the channels and the labels. A preset gives every number. Each
number also has its own flag, with its name in the run's config.json. A run that exists keeps its
own configuration, so --preset is not needed to resume it. Durations are in kimg, thousands of real
images. Pictures are in RUN/samples; `tensorboard --logdir RUN` shows everything else.

After SIGTERM or SIGINT the iteration ends and a checkpoint is written. A second signal ends the
process at once. Exit statuses:

  0   training is complete
  2   the input cannot be used, or the run diverged
  69  another worker is gone or hangs
  75  stopped by a signal or --stop_after_minutes; the same command resumes the run

If TF_CONFIG names several workers, give each the same command. They train together as one device
would. Worker 0 writes the run directory; the other workers need only the data.
"""


def define_flags(flags: CommandFlags) -> None:
    """Defines the command's flags, including one for each field of a configuration."""
    flags.string("run", None, "run directory; it is made if it does not exist")
    flags.enum("preset", None, presets.names(), "configuration to start from")
    flags.string("config", None, "JSON configuration to start from")
    flags.string(
        "data", None, "data set: folder, .zip, TFRecords, or cards:count=N,seed=S,size=HxW"
    )
    flags.string("image_size", None, "HxW; default: the data set's")
    flags.boolean("labels", False, "train a conditional model on the set's labels")
    flags.string("devices", "auto", "auto (all GPUs, else the CPU), a number of GPUs, or cpu:N")
    flags.string(
        "init_from",
        None,
        "run whose weights a new run starts from; it then has no training.ema_rampup",
    )
    flags.boolean("deterministic", False, "make every operation deterministic; slower on GPUs")
    flags.boolean("dry_run", False, "print the configuration and the networks, and stop")
    flags.integer(
        "profile_iterations",
        0,
        "record this many iterations, after the tenth, for TensorBoard's profile page",
        lower_bound=0,
    )
    flags.number(
        "stop_after_minutes",
        math.inf,
        "write a checkpoint and stop after this time, for jobs with a time limit",
        lower_bound=0,
    )
    flags.enum(
        "on_nan",
        "stop",
        ["stop", "rollback"],
        "if the run diverges: stop, or go on from the last checkpoint with another seed",
    )
    flags.enum(
        "on_bad_image",
        "stop",
        ["stop", "skip"],
        "if an image can no longer be read: stop, or name it, count it and take the next one",
    )
    flags.number(
        "worker_timeout",
        600.0,
        "seconds per iteration after which a worker counts as hung and the others end",
        lower_bound=1.0,
    )
    for name, help_text in config.help_texts().items():
        flags.string(name, None, help_text)


def build_config(values: FlagValues) -> Config:
    """Returns the configuration that the flags ask for.

    Raises:
        InputError: for flags that contradict each other or the data set.
    """
    overrides = {
        name: values[name].value for name in config.field_names() if values[name].value is not None
    }
    for name in ("run", "config", "data", "image_size", "devices", "init_from"):
        if values[name].value == "":
            raise InputError(
                f"--{name} is empty; leave it out, or set the shell variable that it takes"
            )
    if values.preset and values.config:
        raise InputError("--preset and --config both name a configuration; give only one of them")
    if values.data is not None:
        overrides["data.source"] = values.data
    if values.image_size is not None:
        for key in presets.BOTH_NETWORKS["image_size"]:
            overrides[key] = values.image_size
    base = _base(values, overrides.get("data.source"))
    if values.labels:
        label_dim = _label_dim(config.override(base, overrides))
        both = dict.fromkeys(presets.BOTH_NETWORKS["label_dim"], str(label_dim))
        overrides = {**both, **overrides}
    return config.override(base, overrides)


def _base(values: FlagValues, source_spec: str | None) -> Config:
    """Returns the configuration that the flags change."""
    if values.config:
        return config.load(values.config)
    if values.preset:
        return _preset(values, source_spec)
    if values.run:
        stored = RunDirectory(values.run).config_path
        if os.path.exists(stored):
            return config.load(stored)
    raise InputError(
        f"a new run needs --preset or --config; the presets are {', '.join(presets.names())}"
    )


def _preset(values: FlagValues, source_spec: str | None) -> Config:
    """Returns the preset, at the image size of the data set if there is one."""
    image_size = parse_image_size(values.image_size) if values.image_size else None
    image_channels = 3
    if source_spec is not None:
        from tf_sg2.data import open_source

        source = open_source(source_spec, image_size)
        image_size, image_channels = source.image_size, source.image_channels
    replicas = 1
    if values.preset == "auto":
        from tf_sg2.training.cluster.tf_config import read_cluster
        from tf_sg2.training.run.devices import choose_strategy

        strategy = choose_strategy(values.devices, read_cluster(), values.worker_timeout)
        replicas = strategy.num_replicas_in_sync
    return presets.get(values.preset, image_size, image_channels, replicas=replicas)


def _label_dim(wanted: Config) -> int:
    """Returns the width of the data set's labels."""
    from tf_sg2.data import open_source

    spec = wanted.data.source
    if not spec:
        raise InputError("--labels was given, but no data set; add --data=PATH")
    label_dim = open_source(spec).label_dim
    if not label_dim:
        raise InputError(f"--labels was given, but {spec} has no labels; leave --labels out")
    return label_dim


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 train`."""
    values = parse("train", arguments, define_flags, USAGE)
    wanted = build_config(values)
    if values.dry_run:
        from tf_sg2.inspect.layer_table import describe

        print(config.to_json(wanted))
        print(describe(wanted))
        return
    if values.run is None:
        raise InputError("--run=DIRECTORY is needed: the folder for checkpoints, logs and samples")
    if values.deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    from tf_sg2.training.cluster.failures import LOST_STATUS, LostWorkerError
    from tf_sg2.training.loop import train
    from tf_sg2.training.run.signals import INTERRUPTED_STATUS, StoppedBySignalError
    from tf_sg2.training.schedule import schedule_of

    try:
        state = train(
            wanted,
            values.run,
            devices=values.devices,
            init_from=values.init_from,
            profile_iterations=values.profile_iterations,
            stop_after_minutes=values.stop_after_minutes,
            on_nan=values.on_nan,
            on_bad_image=values.on_bad_image,
            worker_timeout=values.worker_timeout,
        )
    except StoppedBySignalError as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(INTERRUPTED_STATUS)
    except LostWorkerError as lost:
        print(f"error: {lost}", file=sys.stderr)
        sys.exit(LOST_STATUS)
    iteration = int(state.iteration.numpy())
    if iteration < schedule_of(wanted.training).total:
        print(
            f"--stop_after_minutes={values.stop_after_minutes:g}: stopped after iteration "
            f"{iteration}; the checkpoint is written, and the same command goes on from it",
            file=sys.stderr,
        )
        sys.exit(INTERRUPTED_STATUS)
    print(
        f"run directory: {values.run}\npictures: {os.path.join(values.run, 'samples')}\n"
        f"TensorBoard: tensorboard --logdir {values.run}",
        file=sys.stdout,
    )
