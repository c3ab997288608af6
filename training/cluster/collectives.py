"""What the workers of a run exchange through the strategy's own collective operations.

Every worker must make each call here, in the same order, because each call waits for all workers.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tf_sg2.compat import raw_variable
from tf_sg2.errors import InputError
from tf_sg2.training.cluster.failures import EveryWorkerError
from tf_sg2.training.cluster.tf_config import Cluster
from tf_sg2.training.cluster.watchdog import Watchdog


class DifferenceError(InputError, EveryWorkerError):
    """The workers got different commands, data or versions; the message names those that differ."""


class Workers:
    """The workers of a run, of which this process is one.

    Args:
        strategy: the strategy of the run.
        cluster: the same in every worker, except for the index.
        watchdog: ends the process when another worker hangs.
    """

    def __init__(self, strategy: tf.distribute.Strategy, cluster: Cluster, watchdog: Watchdog):
        self.strategy, self.cluster, self.watchdog = strategy, cluster, watchdog
        self._gathered = tf.function(self._gather, autograph=False)
        self._previous_flags: tf.Tensor | None = None

    def gather(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Returns every worker's values on each worker: [n] -> float32 [workers, n]."""
        own = np.asarray(values, np.float32)
        if self.cluster.size == 1:
            return own[None]
        rows = self._gathered(tf.constant(own)).numpy()
        # One row per replica, worker by worker. The replicas of a worker have equal rows.
        return rows[:: len(rows) // self.cluster.size]

    def any_in_previous_call(self, flags: Sequence[bool]) -> list[bool]:
        """Returns which flags of the previous call were set on any worker.

        The result is one call old, so this never blocks. The first call returns only False. With
        one worker, the result is the flags of this call.
        """
        if self.cluster.size == 1:
            return list(flags)
        previous = self._previous_flags
        self._previous_flags = self._gathered(tf.constant(flags, tf.float32))
        if previous is None:
            return [False] * len(flags)
        return [bool(column.any()) for column in previous.numpy().T]

    def check_same(self, what: str, value: str) -> None:
        """Refuses workers that have different values of something.

        Raises:
            DifferenceError: on every worker, naming those that differ from the chief.
        """
        # 16 bits per number, which float32 holds exactly.
        digest = np.frombuffer(hashlib.sha256(value.encode()).digest(), np.uint16)
        rows = self.gather(digest)
        others = [i for i, row in enumerate(rows) if (row != rows[0]).any()]
        if others:
            names = ", ".join(self.cluster.name(i) for i in others)
            raise DifferenceError(
                f"the {what} of {names} differs from that of {self.cluster.name(0)}; give every "
                "worker the same command, data and version of tf_sg2"
            )

    def broadcast_from_chief(self, variables: Sequence[tf.Variable]) -> None:
        """Assigns the chief's values to every replica of every worker."""
        if self.cluster.size == 1:
            return
        variables = [raw_variable(variable) for variable in variables]

        def chief_values():
            context = tf.distribute.get_replica_context()
            is_chief = tf.equal(context.replica_id_in_sync_group, 0)
            return [tf.where(is_chief, v, tf.zeros_like(v)) for v in variables]

        @tf.function(autograph=False)
        def broadcast():
            for variable, value in zip(variables, self.strategy.run(chief_values), strict=True):
                total = self.strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
                variable.assign(total)

        broadcast()

    def wait_for_chief(self, what: str, work: Callable[[Callable[[], None]], None]) -> None:
        """Runs `work` on the chief; the other workers wait, however long it takes.

        Args:
            what: names the work for the watchdog's message.
            work: called on the chief with a function that it calls often, as after each batch.
                That function tells the other workers, now and then, that the chief does not hang.
        """
        if self.cluster.is_chief:
            told = time.monotonic()

            def still_working() -> None:
                nonlocal told
                if time.monotonic() - told > self.watchdog.seconds / 4:
                    self._chief_is_done(what, False)
                    told = time.monotonic()

            work(still_working if self.cluster.size > 1 else lambda: None)
            self._chief_is_done(what, True)
            return
        while not self._chief_is_done(what, False):
            pass

    def _chief_is_done(self, what: str, done: bool) -> bool:
        self.watchdog.reached(what)
        return bool(self.gather([done])[0, 0])

    def _gather(self, values: tf.Tensor) -> tf.Tensor:
        """[n] on each worker -> [replicas, n] on all: each replica adds its own row to zeros."""
        replicas = self.strategy.num_replicas_in_sync

        def on_replica(values):
            context = tf.distribute.get_replica_context()
            own = tf.one_hot(context.replica_id_in_sync_group, replicas)  # [replicas]
            return context.all_reduce(tf.distribute.ReduceOp.SUM, own[:, None] * values[None])

        per_replica = self.strategy.run(on_replica, args=(values,))
        return self.strategy.experimental_local_results(per_replica)[0]
