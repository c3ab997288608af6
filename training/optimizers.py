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
                f"({error}); install the extra [addons], or name an optimiser of keras.optimizers"
            ) from error
        found = getattr(addons.optimizers, name[len(ADDONS_PREFIX) :], None)
    else:
        found = getattr(keras.optimizers, name, None)
    if not inspect.isclass(found):
        raise InputError(
            f"there is no optimiser {name!r}; name a class of keras.optimizers such as Adam, or, "
            "with tensorflow-addons, one such as Addons>LAMB"
        )
    return found


def lazy_factor(interval: int) -> float:
    """Returns c = k / (k + 1), the share of main steps among all steps.

    There is one regularisation step after every k main steps, and both share one optimiser state.
    Learning rate and decays become lr * c and beta^c. The state then moves as it would with both
    terms in every step.

    Source: paper section 3.1 and appendix B.
    """
    return interval / (interval + 1) if interval else 1.0


def build_optimizer(config: OptimizerConfig, interval: int) -> Any:
    """Returns the Keras or Addons optimiser of `config`.

    `beta_1`, `beta_2` and `epsilon` are passed on if the optimiser has them.

    Args:
        config: name and hyper-parameters.
        interval: k, main steps for each regularisation step; 0 without regularisation.

    Raises:
        InputError: for an unknown optimiser or an argument that it does not accept.
    """
    kind: Any = _optimizer_class(config.name)
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
        raise InputError(
            f"optimiser {config.name!r} refuses its arguments: {error}; correct its fields in the "
            "configuration"
        ) from error


def build_slots(optimizer: Any, variables: Sequence[Any]) -> None:
    """Creates the optimiser's variables, so that they exist before the first step."""
    if hasattr(optimizer, "build"):
        optimizer.build(variables)
    else:  # Addons has optimisers of Keras's older class.
        optimizer._create_all_weights(variables)
