"""One iteration: the four passes, each a function of (state, seed, positions, images).

Each pass is one loss: generator, path length, discriminator, R1. Its gradients are computed on
every replica, part by part, and one update applies them. Losses are sums over samples divided by
the global batch, so gradients add up over parts and replicas to those of one large batch. The
optimisers add gradients over replicas themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_sg2 import images as image_values
from tf_sg2.compat import raw_variable
from tf_sg2.config import Config
from tf_sg2.training import draws, losses, regularizers
from tf_sg2.training.draws import Phase
from tf_sg2.training.ema import ema_decay, update_ema
from tf_sg2.training.state import TrainState

Tensors = dict[str, Any]


def _take(values: tf.Tensor, part: tf.Tensor | int, parts: int) -> tf.Tensor:
    """Rows part, part + parts, ... of `values`: strided, so that minibatch-stddev groups stay."""
    if parts == 1:
        return values
    split = tf.reshape(values, [values.shape[0] // parts, parts, *values.shape[1:]])
    return tf.gather(split, part, axis=1)


def _accumulate(compute: Callable[[tf.Tensor | int], Any], parts: int) -> Any:
    """Returns the sum of compute(0) ... compute(parts - 1), one after the other."""
    if parts == 1:
        return compute(0)
    structure = compute(tf.constant(0))

    def body(part, total):
        return part + 1, tf.nest.map_structure(tf.add, total, compute(part))

    # A loop rather than a chain of operations: only one part's activations live at a time.
    _, total = tf.while_loop(
        lambda part, total: part < parts, body, (tf.constant(1), structure), parallel_iterations=1
    )
    return total


def _over_replicas(value: tf.Tensor) -> tf.Tensor:
    """Returns the sum over replicas; to be called on each."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)


class TrainStep:
    """The compiled passes of an iteration under a distribution strategy.

    Each takes (positions, images, labels) as per-replica values: positions int64 [b] in the run's
    stream of samples, images uint8 [b, H, W, C], labels float32 [b, label_dim]; and returns a
    dictionary of scalars over the global batch. Variables of the state change in place.

    A pass with a gradient that is not finite, on any replica, changes nothing but the state's count
    of skipped steps.

    Source: paper section 3 and appendix B; order of passes as in the official loop.
    """

    def __init__(self, state: TrainState, config: Config, strategy: tf.distribute.Strategy):
        self.state, self.config, self.strategy = state, config, strategy
        self.parts = config.training.accumulation_steps
        self.generator_main = self._compiled("generator", self._generator, self._track_w_avg)
        self.generator_regularize = self._compiled(
            "generator", self._path_length, self._track_path_length, self._mean_path_length
        )
        self.discriminator_main = self._compiled("discriminator", self._discriminator)
        self.discriminator_regularize = self._compiled("discriminator", self._r1)
        self.average = tf.function(self._average, autograph=False)
        self._count_not_finite = tf.function(self._not_finite, autograph=False)

    def run(self, iteration: int, inputs: tuple) -> Tensors:
        """Runs the passes that are due in iteration number `iteration`; returns their scalars."""
        training = self.config.training
        scalars = dict(self.generator_main(*inputs))
        if training.path_length_weight and _due(iteration, training.path_length_interval):
            scalars.update(self.generator_regularize(*inputs))
            scalars["path_length/mean"] = tf.convert_to_tensor(self.state.path_length_mean)
        scalars.update(self.discriminator_main(*inputs))
        self.average()
        if training.r1_gamma and _due(iteration, training.r1_interval):
            scalars.update(self.discriminator_regularize(*inputs))
        self.state.iteration.assign_add(1)
        self.state.images_seen.assign_add(training.batch_size)
        return scalars

    def not_finite(self) -> list[str]:
        """Returns the names of the state's variables that hold NaN or infinity on any replica."""
        counts = self._count_not_finite().numpy()
        return [name for name, count in zip(self._floats(), counts, strict=True) if count]

    def _floats(self) -> dict[str, Any]:
        return {
            name: raw_variable(variable)
            for name, variable in self.state.variables().items()
            if tf.as_dtype(variable.dtype).is_floating
        }

    def _compiled(
        self,
        name: str,
        loss_of: Callable[..., tuple[tf.Tensor, Tensors]],
        track: Callable[[Tensors], None] = lambda scalars: None,
        prepare: Callable[[Callable], tuple] = lambda part: (),
    ) -> Callable[..., Tensors]:
        """Compiles a pass that updates the network `name`.

        Args:
            name: "generator" or "discriminator".
            loss_of: (positions, images, labels) of a part and what `prepare` returned
                -> (loss, scalars). Scalars whose names begin with "_" are only for `track`.
            track: changes further variables, given the scalars over the global batch.
            prepare: computes what a part must know of the others, given a function from a part's
                index to its (positions, images, labels).
        """
        network, optimizer = getattr(self.state, name), getattr(self.state, f"{name}_optimizer")
        skips, variables = getattr(self.state, f"{name}_skips"), network.trainable_variables

        def compute_gradients(*inputs):
            def part(index):
                positions, images, labels = (_take(value, index, self.parts) for value in inputs)
                return positions, images, labels if network.config.label_dim else None

            prepared = prepare(part)

            def compute(index):
                watched = [raw_variable(variable) for variable in variables]
                # Only this network is watched: what the other one computes is a constant.
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(watched)
                    loss, scalars = loss_of(*part(index), *prepared)
                # Zero, not None, for variables that a regulariser does not reach, so that their
                # optimiser slots decay as in a step with both terms.
                zero = tf.UnconnectedGradients.ZERO
                return tape.gradient(loss, watched, unconnected_gradients=zero), scalars

            gradients, scalars = _accumulate(compute, self.parts)
            return gradients, {**scalars, "_unusable": self._unusable(gradients)}

        def apply_gradients(gradients):
            optimizer.apply_gradients(zip(gradients, variables, strict=True))

        @tf.function(autograph=False)  # No Python control flow depends on a tensor.
        def compiled(*inputs):
            gradients, per_replica = self.strategy.run(compute_gradients, args=inputs)
            scalars = {
                key: self.strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
                for key, value in per_replica.items()
            }

            def update():
                self.strategy.run(apply_gradients, args=(gradients,))
                track(scalars)
                return tf.stack([skips[0], 0])

            # One decision for all replicas, because each has the same sum.
            counts = tf.cond(scalars["_unusable"] > 0, lambda: skips + 1, update)
            skips.assign(counts)
            shown = {key: value for key, value in scalars.items() if not key.startswith("_")}
            return {**shown, f"skipped_in_a_row/{name}": counts[1]}

        return compiled

    def _unusable(self, gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        """Returns 1.0 where a gradient is not finite, or so large that the sum may not be."""
        replicas = self.strategy.num_replicas_in_sync
        finite = [tf.reduce_all(tf.math.is_finite(gradient * replicas)) for gradient in gradients]
        return 1.0 - tf.cast(tf.reduce_all(finite), tf.float32)

    # The losses of one part on one replica.

    def _sample_w(self, positions, labels, phase: Phase) -> tuple[tf.Tensor, tf.Tensor]:
        training = self.config.training
        probability = training.style_mixing_probability
        return draws.sample_w(
            self.state.generator, labels, positions, training.seed, phase, probability
        )

    def _synthesize(self, w, positions, phase: Phase) -> tf.Tensor:
        seeds = draws.noise_seeds(positions, self.config.training.seed, phase)
        return self.state.generator.synthesis(w, noise_mode="random", noise_seeds=seeds)

    def _generator(self, positions, images, labels) -> tuple[tf.Tensor, Tensors]:
        batch = self.config.training.batch_size
        w, first = self._sample_w(positions, labels, Phase.GENERATOR)
        fakes = self._synthesize(w, positions, Phase.GENERATOR)
        scores = self.state.discriminator(fakes, labels)
        loss = tf.reduce_sum(losses.generator_loss(scores)) / batch
        return loss, {
            "loss/generator": loss,
            "scores/fake_sign": tf.reduce_sum(tf.sign(scores)) / batch,
            "_w_mean": tf.reduce_sum(first, axis=0) / batch,
        }

    def _path_length(self, positions, images, labels, mean) -> tuple[tf.Tensor, Tensors]:
        training = self.config.training
        lengths, count = self._path_lengths(positions, labels)
        own_mean = tf.reduce_sum(lengths) / count
        local_loss, penalty = regularizers.path_length_loss(
            lengths,
            _over_replicas(own_mean) if mean is None else mean,
            self.state.path_length_mean,
            training.path_length_decay,
            count,
        )
        weight = training.path_length_weight * training.path_length_interval
        return local_loss * weight, {
            "loss/path_length": penalty * training.path_length_weight,
            "path_length/mean_of_batch": own_mean,
        }

    def _path_lengths(self, positions, labels) -> tuple[tf.Tensor, int]:
        """Returns path lengths of a part's first samples, and how many all parts compute."""
        # The first samples of the shares are the first of the global batch.
        share = max(positions.shape[0] // self.config.training.path_length_batch_divisor, 1)
        positions, labels = positions[:share], None if labels is None else labels[:share]
        w, _ = self._sample_w(positions, labels, Phase.PATH_LENGTH)
        seed = self.config.training.seed
        lengths = regularizers.path_lengths(
            lambda w: self._synthesize(w, positions, Phase.PATH_LENGTH),
            w,
            draws.image_noise(self.state.generator, positions, seed, Phase.PATH_LENGTH),
        )
        return lengths, share * self.parts * self.strategy.num_replicas_in_sync

    def _mean_path_length(self, part) -> tuple[tf.Tensor | None]:
        """Returns the mean over all parts, which each needs; None where there is one part."""
        if self.parts == 1:
            return (None,)

        def share_of_mean(index):
            positions, _, labels = part(index)
            lengths, count = self._path_lengths(positions, labels)
            return tf.reduce_sum(lengths) / count

        return (_over_replicas(_accumulate(share_of_mean, self.parts)),)

    def _discriminator(self, positions, images, labels) -> tuple[tf.Tensor, Tensors]:
        batch = self.config.training.batch_size
        w, _ = self._sample_w(positions, labels, Phase.DISCRIMINATOR)
        fakes = self._synthesize(w, positions, Phase.DISCRIMINATOR)
        real_scores = self.state.discriminator(image_values.from_uint8(images), labels)
        fake_scores = self.state.discriminator(fakes, labels)
        real_loss = tf.reduce_sum(losses.discriminator_loss_real(real_scores)) / batch
        fake_loss = tf.reduce_sum(losses.discriminator_loss_fake(fake_scores)) / batch
        return real_loss + fake_loss, {
            "loss/discriminator": real_loss + fake_loss,
            "scores/real": tf.reduce_sum(real_scores) / batch,
            "scores/fake": tf.reduce_sum(fake_scores) / batch,
            "scores/real_sign": tf.reduce_sum(tf.sign(real_scores)) / batch,
        }

    def _r1(self, positions, images, labels) -> tuple[tf.Tensor, Tensors]:
        training = self.config.training
        penalties, _ = regularizers.r1_penalties(
            lambda x: self.state.discriminator(x, labels), image_values.from_uint8(images)
        )
        penalty = tf.reduce_sum(penalties) / training.batch_size
        loss = penalty * (training.r1_gamma / 2)
        return loss * training.r1_interval, {"loss/r1": loss, "r1/penalty": penalty}

    # What follows runs once, over all replicas.

    def _track_w_avg(self, scalars: Tensors) -> None:
        self.state.generator.mapping.track_w_avg(scalars["_w_mean"])

    def _track_path_length(self, scalars: Tensors) -> None:
        mean, decay = self.state.path_length_mean, self.config.training.path_length_decay
        mean.assign(mean + decay * (scalars["path_length/mean_of_batch"] - mean))

    def _not_finite(self) -> tf.Tensor:
        """Returns, for each of `_floats`, how many replicas hold a value that is not finite."""

        def on_replica():
            finite = [tf.reduce_all(tf.math.is_finite(v)) for v in self._floats().values()]
            return 1.0 - tf.cast(tf.stack(finite), tf.float32)

        counts = self.strategy.run(on_replica)
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, counts, axis=None)

    def _average(self) -> None:
        state = self.state
        decay = ema_decay(self.config.training, state.images_seen + self.config.training.batch_size)
        update_ema(self.strategy, state.generator, state.generator_ema, decay)


def _due(iteration: int, interval: int) -> bool:
    return interval > 0 and iteration % interval == 0
