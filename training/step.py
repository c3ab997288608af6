"""One iteration: its four passes, each a function of (state, seed, positions, images).

The passes are generator, path length, discriminator and R1. Each has one loss, which `update.py`
turns into one update of a network.

Source: paper section 3 and appendix B; order of passes as in the official loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_sg2 import images as image_values
from tf_sg2.compat import raw_variable
from tf_sg2.config import Config
from tf_sg2.training import draws, losses, regularizers
from tf_sg2.training.augment.augmentation import augmentation_of, next_probability
from tf_sg2.training.draws import Phase
from tf_sg2.training.ema import ema_decay, update_ema
from tf_sg2.training.schedule import is_due
from tf_sg2.training.state import TrainState
from tf_sg2.training.update import Samples, Scalars, compile_update, sum_over_replicas


class TrainStep:
    """The compiled passes of an iteration under a distribution strategy.

    Each pass takes (positions, images, labels) as per-replica values: positions int64 [b] in the
    run's stream of samples, images uint8 [b, H, W, C], labels float32 [b, label_dim]. It changes
    the state's variables in place, and returns a dictionary of scalars over the global batch.
    """

    def __init__(self, state: TrainState, config: Config, strategy: tf.distribute.Strategy):
        self.state, self.config, self.strategy = state, config, strategy
        self.parts = config.training.accumulation_steps
        self.augment = augmentation_of(
            config.augment, config.training.seed, state.augment_probability
        )
        self.generator_main = self._update(
            "generator", self._generator_loss, after=self._track_w_avg
        )
        self.generator_regularize = self._update(
            "generator",
            self._path_length_loss,
            mean_of=self._share_of_mean_length,
            after=self._track_path_length,
        )
        self.discriminator_main = self._update(
            "discriminator", self._discriminator_loss, after=self._track_signs
        )
        self.discriminator_regularize = self._update(
            "discriminator", self._r1_loss, after=self._track_signs
        )
        self.adapt_augmentation = tf.function(self._adapt_augmentation, autograph=False)
        self.average = tf.function(self._average, autograph=False)
        self._count_not_finite = tf.function(self._not_finite, autograph=False)

    def run(self, iteration: int, inputs: tuple) -> Scalars:
        """Runs the passes that are due in an iteration, and returns their scalars."""
        training = self.config.training
        scalars = dict(self.generator_main(*inputs))
        if training.path_length_weight and is_due(iteration, training.path_length_interval):
            scalars.update(self.generator_regularize(*inputs))
            scalars["path_length/mean"] = tf.convert_to_tensor(self.state.path_length_mean)
        scalars.update(self.discriminator_main(*inputs))
        self.average()
        if training.r1_gamma and is_due(iteration, training.r1_interval):
            scalars.update(self.discriminator_regularize(*inputs))
        if is_due(iteration + 1, self.config.augment.adapt_interval):
            scalars["augment/probability"] = self.adapt_augmentation()
        self.state.iteration.assign_add(1)
        self.state.images_seen.assign_add(training.batch_size)
        return scalars

    def not_finite(self) -> list[str]:
        """Returns the names of the state's variables that hold NaN or infinity on any replica."""
        counts = self._count_not_finite().numpy()
        return [name for name, count in zip(self._floats(), counts, strict=True) if count]

    def _update(self, name: str, loss_of: Callable, **options: Any) -> Callable[..., Scalars]:
        return compile_update(
            self.state, name, self.strategy, self.parts, loss_of=loss_of, **options
        )

    # The four passes: each returns (loss, scalars) of one part's samples on one replica.

    def _generator_loss(self, samples: Samples) -> tuple[tf.Tensor, Scalars]:
        batch = self.config.training.batch_size
        fakes, first_w = self._fakes(samples, Phase.GENERATOR)
        fakes = self.augment(fakes, samples.positions, Phase.GENERATOR)
        scores = self.state.discriminator(fakes, samples.labels)
        loss = tf.reduce_sum(losses.generator_loss(scores)) / batch
        return loss, {
            "loss/generator": loss,
            "scores/fake_sign": tf.reduce_sum(tf.sign(scores)) / batch,
            "_w_mean": tf.reduce_sum(first_w, axis=0) / batch,
        }

    def _path_length_loss(
        self, samples: Samples, mean: tf.Tensor | None
    ) -> tuple[tf.Tensor, Scalars]:
        training = self.config.training
        lengths, count = self._path_lengths(samples)
        own_mean = tf.reduce_sum(lengths) / count
        loss, penalty = regularizers.path_length_loss(
            lengths,
            sum_over_replicas(own_mean) if mean is None else mean,
            self.state.path_length_mean,
            training.path_length_decay,
            count,
        )
        return loss * (training.path_length_weight * training.path_length_interval), {
            "loss/path_length": penalty * training.path_length_weight,
            "path_length/mean_of_batch": own_mean,
        }

    def _discriminator_loss(self, samples: Samples) -> tuple[tf.Tensor, Scalars]:
        batch = self.config.training.batch_size
        positions = samples.positions
        fakes, _ = self._fakes(samples, Phase.DISCRIMINATOR)
        fakes = self.augment(fakes, positions, Phase.DISCRIMINATOR)
        reals = image_values.from_uint8(samples.images)
        reals = self.augment(reals, positions, Phase.DISCRIMINATOR_REALS)
        real_scores = self.state.discriminator(reals, samples.labels)
        fake_scores = self.state.discriminator(fakes, samples.labels)
        real_loss = tf.reduce_sum(losses.discriminator_loss_real(real_scores)) / batch
        fake_loss = tf.reduce_sum(losses.discriminator_loss_fake(fake_scores)) / batch
        return real_loss + fake_loss, {
            "loss/discriminator": real_loss + fake_loss,
            "scores/real": tf.reduce_sum(real_scores) / batch,
            "scores/fake": tf.reduce_sum(fake_scores) / batch,
            "scores/real_sign": tf.reduce_sum(tf.sign(real_scores)) / batch,
            "_signs": _signs(real_scores),
        }

    def _r1_loss(self, samples: Samples) -> tuple[tf.Tensor, Scalars]:
        training = self.config.training

        def discriminate(images: tf.Tensor) -> tf.Tensor:
            augmented = self.augment(images, samples.positions, Phase.R1)
            return self.state.discriminator(augmented, samples.labels)

        reals = image_values.from_uint8(samples.images)
        penalties, scores = regularizers.r1_penalties(discriminate, reals)
        penalty = tf.reduce_sum(penalties) / training.batch_size
        loss = penalty * (training.r1_gamma / 2)
        return loss * training.r1_interval, {
            "loss/r1": loss,
            "r1/penalty": penalty,
            "_signs": _signs(scores),
        }

    # What the passes share.

    def _fakes(self, samples: Samples, phase: Phase) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns generated images, and the w of their first latents before style mixing."""
        w, first_w = self._sample_w(samples, phase)
        return self._synthesize(w, samples.positions, phase), first_w

    def _sample_w(self, samples: Samples, phase: Phase) -> tuple[tf.Tensor, tf.Tensor]:
        training = self.config.training
        return draws.sample_w(
            self.state.generator,
            samples.labels,
            samples.positions,
            training.seed,
            phase,
            training.style_mixing_probability,
        )

    def _synthesize(self, w: tf.Tensor, positions: tf.Tensor, phase: Phase) -> tf.Tensor:
        seeds = draws.noise_seeds(positions, self.config.training.seed, phase)
        return self.state.generator.synthesis(w, noise_mode="random", noise_seeds=seeds)

    def _path_lengths(self, samples: Samples) -> tuple[tf.Tensor, int]:
        """Returns path lengths of a part's first samples, and their number over all parts."""
        # The first samples of the shares are the first samples of the global batch.
        divisor = self.config.training.path_length_batch_divisor
        share = max(samples.positions.shape[0] // divisor, 1)
        first = Samples(*(None if value is None else value[:share] for value in samples))
        w, _ = self._sample_w(first, Phase.PATH_LENGTH)
        seed = self.config.training.seed
        lengths = regularizers.path_lengths(
            lambda w: self._synthesize(w, first.positions, Phase.PATH_LENGTH),
            w,
            draws.image_noise(self.state.generator, first.positions, seed, Phase.PATH_LENGTH),
        )
        return lengths, share * self.parts * self.strategy.num_replicas_in_sync

    def _share_of_mean_length(self, samples: Samples) -> tf.Tensor:
        lengths, count = self._path_lengths(samples)
        return tf.reduce_sum(lengths) / count

    # What follows runs once per update or iteration, not per replica.

    def _track_w_avg(self, scalars: Scalars) -> None:
        self.state.generator.mapping.track_w_avg(scalars["_w_mean"])

    def _track_path_length(self, scalars: Scalars) -> None:
        mean, decay = self.state.path_length_mean, self.config.training.path_length_decay
        mean.assign(mean + decay * (scalars["path_length/mean_of_batch"] - mean))

    def _track_signs(self, scalars: Scalars) -> None:
        self.state.augment_signs.assign_add(scalars["_signs"])

    def _adapt_augmentation(self) -> tf.Tensor:
        probability, signs = self.state.augment_probability, self.state.augment_signs
        changed = next_probability(
            tf.convert_to_tensor(probability),
            tf.convert_to_tensor(signs),
            self.config.augment,
            self.config.training.batch_size,
        )
        probability.assign(changed)
        signs.assign(tf.zeros_like(signs))
        return changed

    def _average(self) -> None:
        state = self.state
        decay = ema_decay(self.config.training, state.images_seen + self.config.training.batch_size)
        update_ema(self.strategy, state.generator, state.generator_ema, decay)

    def _floats(self) -> dict[str, Any]:
        return {
            name: raw_variable(variable)
            for name, variable in self.state.variables().items()
            if tf.as_dtype(variable.dtype).is_floating
        }

    def _not_finite(self) -> tf.Tensor:
        """Returns, for each variable of `_floats`, on how many replicas it is not finite."""

        def on_replica():
            finite = [tf.reduce_all(tf.math.is_finite(v)) for v in self._floats().values()]
            return 1.0 - tf.cast(tf.stack(finite), tf.float32)

        counts = self.strategy.run(on_replica)
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, counts, axis=None)


def _signs(scores: tf.Tensor) -> tf.Tensor:
    """Returns the sum of the scores' signs and their number, float32 [2]."""
    return tf.stack([tf.reduce_sum(tf.sign(scores)), tf.cast(tf.size(scores), tf.float32)])
