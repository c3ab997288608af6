import importlib.util

import pytest
import tensorflow as tf

from tf_sg2 import InputError
from tf_sg2.config import OptimizerConfig
from tf_sg2.training.optimizers import build_optimizer, lazy_factor

HAS_ADDONS = importlib.util.find_spec("tensorflow_addons") is not None


def test_adam_is_corrected_for_lazy_regularisation():
    optimizer = build_optimizer(OptimizerConfig(learning_rate=0.002), interval=4)
    assert float(optimizer.learning_rate) == pytest.approx(0.002 * 4 / 5)
    assert optimizer.beta_1 == 0
    assert optimizer.beta_2 == pytest.approx(0.99 ** (4 / 5))
    assert optimizer.epsilon == 1e-8
    assert lazy_factor(16) == 16 / 17
    assert lazy_factor(0) == 1


def test_other_keras_optimisers_take_what_they_know():
    optimizer = build_optimizer(
        OptimizerConfig("SGD", 0.1, arguments={"momentum": 0.9}), interval=0
    )
    assert type(optimizer).__name__ == "SGD"
    assert optimizer.momentum == 0.9


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (OptimizerConfig("Adamant"), "there is no optimiser 'Adamant'"),
        (OptimizerConfig("SGD", arguments={"beta": 1}), "refuses its arguments"),
    ],
)
def test_unknown_optimisers_and_arguments_are_refused(config, message):
    with pytest.raises(InputError, match=message):
        build_optimizer(config, 0)


@pytest.mark.skipif(HAS_ADDONS, reason="tensorflow-addons is installed")
def test_addons_optimiser_without_addons_names_the_extra():
    with pytest.raises(InputError, match=r"extra \[addons\]"):
        build_optimizer(OptimizerConfig("Addons>LAMB"), 0)


@pytest.mark.skipif(not HAS_ADDONS, reason="needs tensorflow-addons (make test-addons)")
@pytest.mark.parametrize("name", ["Addons>LAMB", "Addons>RectifiedAdam", "Addons>AdaBelief"])
def test_addons_optimisers_are_built_and_move_weights(name):
    optimizer = build_optimizer(OptimizerConfig(name, 0.01), interval=4)
    assert float(tf.convert_to_tensor(optimizer.learning_rate)) == pytest.approx(0.008)
    variable = tf.Variable([1.0, 2.0])
    optimizer.apply_gradients([(tf.constant([0.5, -0.5]), variable)])
    assert variable.numpy()[0] < 1.0
    assert variable.numpy()[1] > 2.0


@pytest.mark.skipif(not HAS_ADDONS, reason="needs tensorflow-addons (make test-addons)")
def test_addons_unknown_optimiser_is_refused():
    with pytest.raises(InputError, match="there is no optimiser 'Addons>LAMBADA'"):
        build_optimizer(OptimizerConfig("Addons>LAMBADA"), 0)
