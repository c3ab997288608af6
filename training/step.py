"""One iteration: the four passes, each a function of (state, seed, positions, images).

Losses are sums over samples divided by the global batch, so gradients add up over micro-batches
and replicas to those of one large batch. The optimisers add gradients over replicas themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tf_sg2 import images as image_values
from tf_sg2.compat import raw_variable
from tf_sg2.config import Config
from tf_sg2.training import losses, regularizers, sampling
from tf_sg2.training.ema import ema_decay, update_ema
from tf_sg2.training.sampling import Phase
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


def _gradients(tape: tf.GradientTape, loss: tf.Tensor, variables: Sequence[Any]) -> list[tf.Tensor]:
    """Gradients of all `variables`: zero, not None, for those that a regulariser does not reach,
    so that their optimiser slots decay as in a step with both terms."""
    return tape.gradient(
        loss,
        [raw_variable(variable) for variable in variables],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )


class TrainStep:
    """The compiled passes of an iteration under a distribution strategy.

    Each takes (positions, images, labels) as per-replica values: positions int64 [b] in the run's
    stream of samples, images uint8 [b, H, W, C], labels float32 [b, label_dim]; and returns a
    dictionary of scalars over the global batch. Variables of the state change in place.

    Source: paper section 3 and appendix B; order of passes as in the official loop.
    """

    def __init__(self, state: TrainState, config: Config, strategy: tf.distribute.Strategy):
        self.state, self.config, self.strategy = state, config, strategy
        self.parts = config.training.accumulation_steps
        self.generator_main = self._compiled(self._generator_main, self._track_w_avg)
        self.generator_regularize = self._compiled(self._path_length, self._track_path_length)
        self.discriminator_main = self._compiled(self._discriminator_main)
        self.discriminator_regularize = self._compiled(self._r1)
        self.average = tf.function(self._average, autograph=False)

    def run(self, iteration: int, inputs: tuple) -> Tensors:
        """Runs the passes that are due in iteration number `iteration`; returns their scalars."""
        training = self.config.training
        scalars = dict(self.generator_main(*inputs))
        if training.path_length_weight and _due(iteration, training.path_length_interval):
            scalars.update(self.generator_regularize(*inputs))
        scalars.update(self.discriminator_main(*inputs))
        self.average()
        if training.r1_gamma and _due(iteration, training.r1_interval):
            scalars.update(self.discriminator_regularize(*inputs))
        self.state.iteration.assign_add(1)
        self.state.images_seen.assign_add(training.batch_size)
        return scalars

    def _compiled(self, replica_pass: Callable, afterwards: Callable | None = None) -> Callable:
        @tf.function(autograph=False)  # No Python control flow depends on a tensor.
        def compiled(*inputs):
            per_replica = self.strategy.run(replica_pass, args=inputs)
            scalars = {
                name: self.strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
                for name, value in per_replica.items()
            }
            if afterwards is not None:
                afterwards(scalars)
            return scalars

        return compiled

    # What follows runs on each replica.

    def _labels(self, labels: tf.Tensor) -> tf.Tensor | None:
        return labels if self.config.generator.label_dim else None

    def _fakes(self, positions, labels, phase: Phase) -> tuple[tf.Tensor, tf.Tensor]:
        training = self.config.training
        w, first = sampling.sample_w(
            self.state.generator,
            labels,
            positions,
            training.seed,
            phase,
            training.style_mixing_probability,
        )
        seeds = sampling.noise_seeds(positions, training.seed, phase)
        return self.state.generator.synthesis(w, noise_mode="random", noise_seeds=seeds), first

    def _apply(self, optimizer: Any, variables: Sequence[Any], gradients: Sequence[Any]) -> None:
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    def _generator_main(self, positions, images, labels) -> Tensors:
        state, batch = self.state, self.config.training.batch_size
        variables = state.generator.trainable_variables

        def compute(part):
            here = _take(positions, part, self.parts)
            there = self._labels(_take(labels, part, self.parts))
            with tf.GradientTape() as tape:
                fakes, w = self._fakes(here, there, Phase.GENERATOR)
                scores = state.discriminator(fakes, there)
                loss = tf.reduce_sum(losses.generator_loss(scores)) / batch
            return _gradients(tape, loss, variables), {
                "loss/generator": loss,
                "scores/fake_sign": tf.reduce_sum(tf.sign(scores)) / batch,
                "w_mean": tf.reduce_sum(w, axis=0) / batch,
            }

        gradients, scalars = _accumulate(compute, self.parts)
        self._apply(state.generator_optimizer, variables, gradients)
        return scalars

    def _path_length(self, positions, images, labels) -> Tensors:
        state, training = self.state, self.config.training
        variables = state.generator.trainable_variables
        # The first samples of the replica's share are the first of the global batch.
        share = max(positions.shape[0] // (training.path_length_batch_divisor * self.parts), 1)
        total = share * self.parts * self.strategy.num_replicas_in_sync
        decay = training.path_length_decay

        def lengths(part):
            here = _take(positions, part, self.parts)[:share]
            there = self._labels(_take(labels, part, self.parts)[:share])
            w, _ = sampling.sample_w(
                state.generator,
                there,
                here,
                training.seed,
                Phase.PATH_LENGTH,
                training.style_mixing_probability,
            )
            seeds = sampling.noise_seeds(here, training.seed, Phase.PATH_LENGTH)
            return regularizers.path_lengths(
                lambda w: state.generator.synthesis(w, noise_mode="random", noise_seeds=seeds),
                w,
                sampling.image_noise(state.generator, here, training.seed, Phase.PATH_LENGTH),
            )

        def over_replicas(value):
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, value)

        if self.parts > 1:  # The mean over all parts is needed before the first gradient.
            known = over_replicas(
                _accumulate(lambda part: tf.reduce_sum(lengths(part)), self.parts) / total
            )

        def compute(part):
            with tf.GradientTape() as tape:
                each = lengths(part)
                values = tf.stop_gradient(each)
                if self.parts > 1:
                    mean = known
                else:
                    mean = over_replicas(tf.reduce_sum(values) / total)
                target = state.path_length_mean + decay * (mean - state.path_length_mean)
                # Derivative of mean((l_i - target)^2) by l_i, with target a function of all l
                # as in the official code; equal to it, yet local to a micro-batch.
                slope = 2 * ((values - target) - decay * (mean - target)) / total
                weight = training.path_length_weight * training.path_length_interval
                loss = weight * tf.reduce_sum(slope * each)
            gradients = _gradients(tape, loss, variables)
            penalty = tf.reduce_sum(tf.square(values - target)) / total
            return gradients, {
                "loss/path_length": penalty * training.path_length_weight,
                "path_length/mean_of_batch": tf.reduce_sum(values) / total,
            }

        gradients, scalars = _accumulate(compute, self.parts)
        self._apply(state.generator_optimizer, variables, gradients)
        return scalars

    def _discriminator_main(self, positions, images, labels) -> Tensors:
        state, batch = self.state, self.config.training.batch_size
        variables = state.discriminator.trainable_variables

        def compute(part):
            here = _take(positions, part, self.parts)
            there = self._labels(_take(labels, part, self.parts))
            reals = image_values.from_uint8(_take(images, part, self.parts))
            fakes, _ = self._fakes(here, there, Phase.DISCRIMINATOR)
            with tf.GradientTape() as tape:
                real_scores = state.discriminator(reals, there)
                fake_scores = state.discriminator(fakes, there)
                real_loss = tf.reduce_sum(losses.discriminator_loss_real(real_scores)) / batch
                fake_loss = tf.reduce_sum(losses.discriminator_loss_fake(fake_scores)) / batch
                loss = real_loss + fake_loss
            return _gradients(tape, loss, variables), {
                "loss/discriminator": loss,
                "scores/real": tf.reduce_sum(real_scores) / batch,
                "scores/fake": tf.reduce_sum(fake_scores) / batch,
                "scores/real_sign": tf.reduce_sum(tf.sign(real_scores)) / batch,
            }

        gradients, scalars = _accumulate(compute, self.parts)
        self._apply(state.discriminator_optimizer, variables, gradients)
        return scalars

    def _r1(self, positions, images, labels) -> Tensors:
        state, training = self.state, self.config.training
        variables = state.discriminator.trainable_variables

        def compute(part):
            there = self._labels(_take(labels, part, self.parts))
            reals = image_values.from_uint8(_take(images, part, self.parts))
            with tf.GradientTape() as tape:
                penalties, _ = regularizers.r1_penalties(
                    lambda x: state.discriminator(x, there), reals
                )
                penalty = tf.reduce_sum(penalties) / training.batch_size
                loss = penalty * (training.r1_gamma / 2 * training.r1_interval)
            gradients = _gradients(tape, loss, variables)
            return gradients, {
                "loss/r1": penalty * training.r1_gamma / 2,
                "r1/penalty": penalty,
            }

        gradients, scalars = _accumulate(compute, self.parts)
        self._apply(state.discriminator_optimizer, variables, gradients)
        return scalars

    # What follows runs once, over all replicas.

    def _track_w_avg(self, scalars: Tensors) -> None:
        self.state.generator.mapping.track_w_avg(scalars.pop("w_mean"))

    def _track_path_length(self, scalars: Tensors) -> None:
        mean, decay = self.state.path_length_mean, self.config.training.path_length_decay
        mean.assign(mean + decay * (scalars["path_length/mean_of_batch"] - mean))
        scalars["path_length/mean"] = tf.convert_to_tensor(mean)

    def _average(self) -> None:
        state = self.state
        decay = ema_decay(self.config.training, state.images_seen + self.config.training.batch_size)
        update_ema(self.strategy, state.generator, state.generator_ema, decay)


def _due(iteration: int, interval: int) -> bool:
    return interval > 0 and iteration % interval == 0
