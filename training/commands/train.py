"""The command `tf-sg2 train`: flags to a configuration, then `loop.train`."""

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
Trains StyleGAN2, or resumes a run: the same command goes on where the run stands.

  tf-sg2 train --run=runs/cards --preset=cards --data=data/cards.zip
  tf-sg2 train --run=runs/faces --preset=config-f --data=faces.zip --training.r1_gamma=5

The image size, the channels and the labels follow from the data set. A preset gives every number;
each can be set by its own flag, named as in the run's config.json. A run that exists is resumed
under its own configuration; --preset is then not needed. Durations are in kimg, thousands of real
images. Pictures are in RUN/samples; `tensorboard --logdir RUN` shows all the rest.

SIGTERM and SIGINT let the iteration end and write a checkpoint; a second signal ends at once. Exit
status: 0 done, 2 unusable input or divergence, 75 stopped by a signal or --stop_after_minutes and
ready to go on, 69 for another worker that is gone or hangs.

Where TF_CONFIG names several workers, give each the same command: they train together as one would.
Worker 0 writes the run directory; the others need the data alone.
"""


def define_flags(flags: CommandFlags) -> None:
    """Defines the command's flags, among them one for each configuration field."""
    flags.string("run", None, "run directory; made if need be")
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
        "record so many iterations, after the tenth, for TensorBoard's profile page",
        lower_bound=0,
    )
    flags.number(
        "stop_after_minutes",
        math.inf,
        "checkpoint and stop after this time, for jobs with a limit; the run can be resumed",
        lower_bound=0,
    )
    flags.enum(
        "on_nan",
        "stop",
        ["stop", "rollback"],
        "when a loss becomes NaN: stop, or go on from the last checkpoint with another seed",
    )
    flags.enum(
        "on_bad_image",
        "stop",
        ["stop", "skip"],
        "when an image cannot be read any more: stop, or name it, count it, and take the next one",
    )
    flags.number(
        "worker_timeout",
        600.0,
        "seconds that one worker of several may keep the others waiting",
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
            raise InputError(f"--{name} is empty; leave it out, or is a shell variable unset?")
    if values.preset and values.config:
        raise InputError("--preset and --config both name a configuration; give one of them")
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
    """The configuration that the flags start from."""
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
    """The preset, at the size of the data set where that is known."""
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
    """The width of the labels of the data set."""
    from tf_sg2.data import open_source

    spec = wanted.data.source
    if not spec:
        raise InputError("--labels was given, but no data set; say --data=PATH")
    label_dim = open_source(spec).label_dim
    if not label_dim:
        raise InputError(f"--labels was given, but {spec} has no labels")
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
        raise InputError("--run=DIRECTORY is needed: where checkpoints, logs and samples go")
    if values.deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    from tf_sg2.training.cluster.tf_config import LOST_STATUS, LostWorkerError
    from tf_sg2.training.loop import steps_for, train
    from tf_sg2.training.run.signals import INTERRUPTED_STATUS, Interrupted

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
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        sys.exit(INTERRUPTED_STATUS)
    except LostWorkerError as lost:
        print(f"error: {lost}", file=sys.stderr)
        sys.exit(LOST_STATUS)
    iteration = int(state.iteration.numpy())
    if iteration < steps_for(wanted.training.total_kimg, wanted.training.batch_size):
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
