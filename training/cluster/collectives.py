"""What the workers of a run tell each other, through the strategy's own collectives.

Every worker must come to each call here, in the same order: each waits for all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_sg2.compat import raw_variable
from tf_sg2.errors import InputError
from tf_sg2.training.cluster.tf_config import Cluster, MetByEveryWorker, Watch


class DifferenceError(InputError, MetByEveryWorker):
    """The workers were not given the same; the message names those that differ."""


class Workers:
    """The workers of a run, of which this process is one.

    Args:
        strategy: of the run.
        cluster: the same in every worker, but for the index.
        watch: ends the process when another worker hangs.
    """

    def __init__(self, strategy: tf.distribute.Strategy, cluster: Cluster, watch: Watch):
        self.strategy, self.cluster, self.watch = strategy, cluster, watch
        self._gathered = tf.function(self._gather, autograph=False)
        self._asked: tf.Tensor | None = None

    def gather(self, values: Sequence[float]) -> np.ndarray:
        """[n] on each worker -> float32 [workers, n] on all."""
        own = np.asarray(values, np.float32)
        if self.cluster.size == 1:
            return own[None]
        rows = self._gathered(tf.constant(own)).numpy()
        # One row a replica, worker by worker: the replicas of a worker say the same.
        return rows[:: len(rows) // self.cluster.size]

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Which of the flags were up on any worker.

        With several workers, the answer is to the flags of the call before: it is there already,
        and nobody waits for it.
        """
        if self.cluster.size == 1:
            return list(flags)
        asked, self._asked = self._asked, self._gathered(tf.constant(flags, tf.float32))
        if asked is None:
            return [False] * len(flags)
        return [bool(column.any()) for column in asked.numpy().T]

    def check_same(self, what: str, value: str) -> None:
        """Holds the workers to one value of something.

        Raises:
            DifferenceError: on every worker, naming those that differ from the chief.
        """
        # Sixteen bits a number: float32 holds them exactly.
        digest = np.frombuffer(hashlib.sha256(value.encode()).digest(), np.uint16)
        rows = self.gather(digest)
        others = [i for i, row in enumerate(rows) if (row != rows[0]).any()]
        if others:
            names = ", ".join(self.cluster.name(i) for i in others)
            raise DifferenceError(
                f"the {what} of {names} differs from that of {self.cluster.name(0)}; give every "
                "worker the same command, data and version of tf_sg2"
            )

    def take_from_chief(self, variables: Sequence[tf.Variable]) -> None:
        """Gives every replica of every worker the chief's values."""
        if self.cluster.size == 1:
            return
        variables = [raw_variable(variable) for variable in variables]

        def own():
            context = tf.distribute.get_replica_context()
            is_chief = tf.equal(context.replica_id_in_sync_group, 0)
            return [tf.where(is_chief, v, tf.zeros_like(v)) for v in variables]

        @tf.function(autograph=False)
        def hand_out():
            for variable, value in zip(variables, self.strategy.run(own), strict=True):
                total = self.strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
                variable.assign(total)

        hand_out()

    def _gather(self, values: tf.Tensor) -> tf.Tensor:
        """[n] on each worker -> [replicas, n] on all: each replica adds its own row to zeros."""
        replicas = self.strategy.num_replicas_in_sync

        def one(values):
            context = tf.distribute.get_replica_context()
            own = tf.one_hot(context.replica_id_in_sync_group, replicas)  # [replicas]
            return context.all_reduce(tf.distribute.ReduceOp.SUM, own[:, None] * values[None])

        per_replica = self.strategy.run(one, args=(values,))
        return self.strategy.experimental_local_results(per_replica)[0]
