"""Builds an optimiser by name, with the hyper-parameters of lazy regularisation."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from tensorflow import keras

from tf_sg2.config import OptimizerConfig
from tf_sg2.errors import InputError

ADDONS_PREFIX = "Addons>"


def _optimizer_class(name: str) -> type:
    if name.startswith(ADDONS_PREFIX):
        try:
            import tensorflow_addons as addons
        except ImportError as error:
            raise InputError(
                f"optimiser {name!r} needs tensorflow-addons, which this environment cannot import "
                f"({error}); install the extra [addons], or name one of keras.optimizers"
            ) from error
        found = getattr(addons.optimizers, name[len(ADDONS_PREFIX) :], None)
    else:
        found = getattr(keras.optimizers, name, None)
    if not inspect.isclass(found):
        raise InputError(
            f"there is no optimiser {name!r}; take a class of keras.optimizers such as Adam, or "
            "Addons>LAMB and its like on the addons stack"
        )
    return found


def lazy_factor(interval: int) -> float:
    """Returns c = k / (k + 1): the share of the steps that is left to the main loss.

    With a regularisation step after every k main steps, learning rate and decays are corrected to
    lr * c and beta^c, so that one shared optimiser state sees what it would have seen with both
    terms in every step.

    Source: paper section 3.1 and appendix B.
    """
    return interval / (interval + 1) if interval else 1.0


def build_optimizer(config: OptimizerConfig, interval: int) -> Any:
    """Returns the Keras or Addons optimiser of `config`.

    `beta_1`, `beta_2` and `epsilon` are handed on where the optimiser has them.

    Args:
        config: name and hyper-parameters.
        interval: k, main steps for each regularisation step; 0 without regularisation.

    Raises:
        InputError: for an unknown optimiser or an argument that it does not take.
    """
    kind = _optimizer_class(config.name)
    c = lazy_factor(interval)
    accepted = inspect.signature(kind.__init__).parameters
    arguments: dict[str, Any] = {"learning_rate": config.learning_rate * c}
    offered = {
        "beta_1": config.beta_1**c,
        "beta_2": config.beta_2**c,
        "epsilon": config.epsilon,
    }
    arguments.update({key: value for key, value in offered.items() if key in accepted})
    arguments.update(config.arguments)
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"optimiser {config.name!r} refuses its arguments: {error}") from error


def build_slots(optimizer: Any, variables: Sequence[Any]) -> None:
    """Makes the optimiser's own variables, so that they are there before the first step."""
    if hasattr(optimizer, "build"):
        optimizer.build(variables)
    else:  # Those of Addons are of Keras's older kind.
        optimizer._create_all_weights(variables)
