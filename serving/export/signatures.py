"""The signatures of a served model: functions of batched rows.

The result of a row depends only on that row, to the last bit. Matrix products and convolutions
split their sums by the shape of the batch. Therefore a batch is computed in parts of one fixed
size, `rows_at_once`, and copies of a row fill the last part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow as tf

from tf_sg2.compat import raw_variable
from tf_sg2.config import GeneratorConfig
from tf_sg2.images import to_uint8
from tf_sg2.latent.seeds import latents
from tf_sg2.networks.generator import Generator
from tf_sg2.networks.synthesis import SynthesisNetwork

# Pixels of the parts that are computed in parallel, at most: about 1.5 GB of activations.
PIXELS_AT_ONCE = 2**20
MOST_PARTS_AT_ONCE = 8
LONGEST_SHAPE = 8  # Dimensions that a message shows.
# No useful input is larger. Squares of much larger numbers overflow float32, and the picture would
# be blank, which looks like a result.
LARGEST_NUMBER = 1e6


@dataclass(frozen=True)
class Input:
    """One input of a signature.

    Attributes:
        dtype: type of its values.
        row: shape of one row.
        valid: returns whether all values can be used.
        sentence: error text after the input's name, for values that are not valid.
    """

    dtype: tf.DType
    row: tuple[int, ...]
    valid: Callable[[tf.Tensor], tf.Tensor]
    sentence: str


@dataclass(frozen=True)
class Signature:
    """A signature: names of its inputs, name and row of its output, and its meaning."""

    inputs: tuple[str, ...]
    output: str
    row: tf.TensorSpec
    meaning: str


def inputs_of(config: GeneratorConfig) -> dict[str, Input]:
    """Returns all inputs of the signatures of a model, by name."""
    usable = f"holds NaN or infinity, or a number beyond {LARGEST_NUMBER:,.0f}; give smaller ones"

    def is_usable(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_all(tf.abs(x) <= LARGEST_NUMBER)  # False for NaN.

    def is_seed(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_all(x >= 0)

    def is_cutoff(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_all((x >= 0) & (x <= config.num_ws))

    seed = Input(tf.int64, (), is_seed, "holds a negative number; seeds are 0 or more")
    return {
        "z": Input(tf.float32, (config.z_dim,), is_usable, usable),
        "w": Input(tf.float32, (config.num_ws, config.w_dim), is_usable, usable),
        "seed": seed,
        "seed_a": seed,
        "seed_b": seed,
        "cutoff": Input(
            tf.int32, (), is_cutoff, f"is not in 0...{config.num_ws}, the layers of this model"
        ),
        "truncation_psi": Input(tf.float32, (), is_usable, usable),
        "labels": Input(tf.float32, (config.label_dim,), is_usable, usable),
    }


def signatures_of(config: GeneratorConfig) -> dict[str, Signature]:
    """Returns the signatures of a model by name.

    For a conditional model, every signature that maps z to w also takes labels.
    """
    labels = ("labels",) if config.label_dim else ()
    images = tf.TensorSpec([*config.image_size, config.image_channels], tf.uint8)
    w = tf.TensorSpec([config.num_ws, config.w_dim], tf.float32)
    png = tf.TensorSpec([], tf.string)
    return {
        "serving_default": Signature(
            ("z", *labels), "images", images, "pictures of latents, without truncation"
        ),
        "generate": Signature(
            ("seed", "truncation_psi", *labels), "image_bytes", png, "PNGs of seeds"
        ),
        "map": Signature(("z", "truncation_psi", *labels), "w", w, "w of latents, truncated"),
        "synthesize": Signature(("w",), "images", images, "pictures of w"),
        "synthesize_png": Signature(("w",), "image_bytes", png, "PNGs of w"),
        "style_mix": Signature(
            ("seed_a", "seed_b", "cutoff", "truncation_psi", *labels),
            "image_bytes",
            png,
            "PNGs of seed_a with the layers from cutoff on (0: all) taken from seed_b",
        ),
    }


class ServedModel:
    """The functions of a generator that a server runs.

    `functions` holds one `tf.function` per signature. It takes its inputs by name and returns
    {output: tensor}. Noise is the stored noise, so only the seeds are random.

    Args:
        generator: the generator; its mapping network is used.
        synthesis: the generator's synthesis network, or a copy in another precision.
        rows_at_once: number of rows that are computed together. 1 is fastest for single rows.
            More rows use a GPU better, but a request of fewer rows takes as long as a full one.

    Raises (from the functions):
        tf.errors.InvalidArgumentError: for a wrong shape or a value that is not valid.
    """

    def __init__(self, generator: Generator, synthesis: SynthesisNetwork, rows_at_once: int = 1):
        config = generator.config
        self.generator, self.config = generator, config
        self._synthesis = synthesis
        self._rows_at_once = rows_at_once
        pixels = config.image_size[0] * config.image_size[1] * rows_at_once
        self._parts_at_once = max(1, min(MOST_PARTS_AT_ONCE, PIXELS_AT_ONCE // pixels))
        self._inputs, self._signatures = inputs_of(config), signatures_of(config)
        self._computations: dict[str, Callable[..., tf.Tensor]] = {
            "serving_default": lambda z, labels=None: self._images(
                generator.mapping(z, labels, truncation_psi=1.0)
            ),
            "generate": lambda seed, truncation_psi, labels=None: self._pngs(
                self._mapped(seed, truncation_psi, labels)
            ),
            "map": lambda z, truncation_psi, labels=None: generator.mapping(
                z, labels, truncation_psi=truncation_psi
            ),
            "synthesize": self._images,
            "synthesize_png": self._pngs,
            "style_mix": self._mixed,
        }
        self.functions = {name: self._function(name) for name in self._signatures}

    def holder(self) -> tf.Module:
        """Returns the object for `tf.saved_model.save`, with the weights that the functions use.

        The networks themselves cannot be saved. Keras 3 hides layers in lists from
        `tf.saved_model.save`, and Keras 2.15 would add its own functions.
        """
        holder = tf.Module(name="served_model")
        holder.mapping = [raw_variable(weight) for weight in self.generator.mapping.weights]
        holder.synthesis = [raw_variable(weight) for weight in self._synthesis.weights]
        return holder

    def concrete_functions(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Returns each function for any number of rows, as `signatures` of a SavedModel."""
        return {
            name: function.get_concrete_function(
                **{
                    key: tf.TensorSpec([None, *self._inputs[key].row], self._inputs[key].dtype, key)
                    for key in self._signatures[name].inputs
                }
            )
            for name, function in self.functions.items()
        }

    def _function(self, name: str) -> tf.types.experimental.PolymorphicFunction:
        signature, compute = self._signatures[name], self._computations[name]

        @tf.function(autograph=False)
        def served(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            rows = self._checked({key: inputs[key] for key in signature.inputs})
            return {signature.output: self._in_parts(compute, rows, signature.row)}

        return served

    def _checked(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns the inputs after assertions of their shapes and values."""
        checks, fed = [], {}
        for name, x in inputs.items():
            row = self._inputs[name].row
            # Hides the declared shape: the graph optimiser would remove the check because of it,
            # but a server accepts any shape.
            fed[name] = tf.compat.v1.placeholder_with_default(x, None)
            shape = tf.shape(fed[name])
            fits = tf.equal(tf.size(shape), 1 + len(row))
            if row:
                tail = tf.concat([shape[1:], tf.zeros([1 + len(row)], tf.int32)], 0)[: len(row)]
                fits &= tf.reduce_all(tf.equal(tail, row))
            wanted = ", ".join(["N", *map(str, row)])
            checks.append(
                tf.debugging.Assert(
                    fits, [f"{name} must be [{wanted}], but is", shape], summarize=LONGEST_SHAPE
                )
            )
        with tf.control_dependencies(checks):
            first, *others = fed
            count = tf.shape(tf.identity(fed[first]))[0]
            for name in others:
                own = tf.shape(fed[name])[0]
                checks.append(
                    tf.debugging.Assert(
                        tf.equal(own, count),
                        [f"{first} and {name} must have as many rows, but have", count, own],
                    )
                )
            for name in fed:
                known = self._inputs[name]
                checks.append(
                    tf.debugging.Assert(known.valid(fed[name]), [f"{name} {known.sentence}"])
                )
        with tf.control_dependencies(checks):
            return {
                name: tf.ensure_shape(tf.identity(x), [None, *self._inputs[name].row])
                for name, x in fed.items()
            }

    def _in_parts(
        self, compute: Callable[..., tf.Tensor], rows: dict[str, tf.Tensor], row: tf.TensorSpec
    ) -> tf.Tensor:
        """Computes `rows_at_once` rows at a time and returns all results, [N, *row]."""
        size = self._rows_at_once
        count = tf.shape(next(iter(rows.values())))[0]
        parts = (count + size - 1) // size
        source = tf.minimum(tf.range(parts * size), count - 1)
        answers = tf.map_fn(
            lambda part: tf.ensure_shape(compute(**part), [size, *row.shape]),
            {
                name: tf.reshape(tf.gather(x, source), [parts, size, *x.shape[1:]])
                for name, x in rows.items()
            },
            parallel_iterations=self._parts_at_once,
            fn_output_signature=tf.TensorSpec([size, *row.shape], row.dtype),
        )
        answers = tf.reshape(answers, [parts * size, *row.shape])[:count]
        return tf.ensure_shape(answers, [None, *row.shape])

    def _mapped(self, seed, truncation_psi, labels) -> tf.Tensor:
        z = latents(seed, self.generator.config.z_dim)
        return self.generator.mapping(z, labels, truncation_psi=truncation_psi)

    def _images(self, w: tf.Tensor) -> tf.Tensor:
        return to_uint8(self._synthesis(w, noise_mode="const"))

    def _pngs(self, w: tf.Tensor) -> tf.Tensor:
        return tf.io.encode_png(self._images(w))

    def _mixed(self, seed_a, seed_b, cutoff, truncation_psi, labels=None) -> tf.Tensor:
        a = self._mapped(seed_a, truncation_psi, labels)
        b = self._mapped(seed_b, truncation_psi, labels)
        layers = tf.range(self.generator.config.num_ws)[None, :, None]
        return self._pngs(tf.where(layers < cutoff[:, None, None], a, b))
