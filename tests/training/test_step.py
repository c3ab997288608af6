"""The training step: its results, which do not depend on how the batch is split."""

import numpy as np
import pytest
import tensorflow as tf

from native_ops import require_native
from tf_sg2.compat import raw_variable
from tf_sg2.errors import InputError
from tf_sg2.ops import use_implementation
from tf_sg2.training import draws, losses, regularizers
from tf_sg2.training.draws import Phase
from tf_sg2.training.run.devices import choose_strategy, deal
from tf_sg2.training.state import create_state
from tf_sg2.training.step import TrainStep
from tiny_config import IMAGE_SIZE, tiny_config


def batch_of(config, iteration):
    size = config.training.batch_size
    rng = np.random.default_rng(iteration)
    label_dim = config.generator.label_dim
    labels = np.eye(max(label_dim, 1), dtype=np.float32)[rng.integers(0, max(label_dim, 1), size)]
    return (
        tf.range(iteration * size, (iteration + 1) * size, dtype=tf.int64),
        tf.constant(rng.integers(0, 256, (size, *IMAGE_SIZE, 3)).astype(np.uint8)),
        tf.constant(labels[:, :label_dim]),
    )


def run_steps(config, count, strategy=None):
    strategy = strategy or tf.distribute.get_strategy()
    state = create_state(config, strategy)
    step = TrainStep(state, config, strategy)
    scalars = []
    for iteration in range(count):
        found = step.run(iteration, deal(strategy, batch_of(config, iteration)))
        scalars.append({name: float(value) for name, value in found.items()})
    return state, scalars


def values_of(state):
    return {name: np.asarray(variable) for name, variable in state.variables().items()}


def assert_states_agree(ours, theirs, tolerance):
    ours, theirs = values_of(ours), values_of(theirs)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if value.dtype.kind == "f" and value.size:
            scale = max(np.abs(value).max(), 0.01)
            assert np.abs(value - theirs[name]).max() <= tolerance * scale, name
        else:
            np.testing.assert_array_equal(value, theirs[name], err_msg=name)


# SGD rather than Adam: Adam divides by the gradient's size. So it enlarges the rounding error of a
# gradient that is almost zero to a full step.
SGD = {
    "generator_optimizer__name": "SGD",
    "discriminator_optimizer__name": "SGD",
}


@pytest.fixture(scope="module")
def one_device():
    return run_steps(tiny_config(**SGD), 4)


@pytest.mark.slow
def test_accumulation_equals_one_batch(one_device):
    split = run_steps(tiny_config(training__accumulation_steps=2, **SGD), 4)
    assert_states_agree(one_device[0], split[0], 1e-4)
    for ours, theirs in zip(one_device[1], split[1], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)


@pytest.mark.slow
def test_two_devices_equal_one(one_device):
    strategy = choose_strategy("cpu:2")
    assert strategy.num_replicas_in_sync == 2
    mirrored = run_steps(tiny_config(**SGD), 4, strategy)
    assert_states_agree(one_device[0], mirrored[0], 1e-4)
    for ours, theirs in zip(one_device[1], mirrored[1], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("devices", ["²", "cpu:²", "cpu:0", "-1", "9" * 5000, "cpu:99999"])
def test_devices_that_are_no_number_are_refused(devices):
    with pytest.raises(InputError, match="is not auto, a number of GPUs, or cpu:N"):
        choose_strategy(devices)


def test_a_process_may_train_on_the_same_devices_again():
    for size in (3, 5):  # A second strategy would use the same names of all-reduces.
        strategy = choose_strategy("cpu:2")

        def total(size=size):
            return tf.distribute.get_replica_context().all_reduce("SUM", tf.ones([size]))

        compiled = tf.function(lambda run=strategy.run, total=total: run(total), autograph=False)
        for value in strategy.experimental_local_results(compiled()):
            np.testing.assert_array_equal(value, np.full(size, 2))


@pytest.mark.slow
def test_passes_follow_their_intervals(one_device):
    scalars = one_device[1]
    assert ["loss/path_length" in found for found in scalars] == [True, False, True, False]
    assert ["loss/r1" in found for found in scalars] == [True, False, False, True]


@pytest.mark.slow
def test_conditional_step_changes_the_label_layers():
    state, _ = run_steps(tiny_config(label_dim=3), 1)
    fresh = create_state(tiny_config(label_dim=3), tf.distribute.get_strategy())
    for mapping in ("generator", "discriminator"):
        ours = getattr(state, mapping).mapping.embed.weight
        theirs = getattr(fresh, mapping).mapping.embed.weight
        assert np.abs(np.asarray(ours) - np.asarray(theirs)).max() > 0


def test_path_length_gradient_equals_the_formula():
    """The step's local form against the gradient of mean((l - a)^2), with the gradient of a."""
    config = tiny_config(training__path_length_interval=1, **SGD)
    training = config.training
    strategy = tf.distribute.get_strategy()
    state = create_state(config, strategy)
    state.path_length_mean.assign(0.4)
    positions, images, labels = batch_of(config, 0)
    half = positions[: training.batch_size // 2]
    variables = [raw_variable(v) for v in state.generator.trainable_variables]
    with tf.GradientTape() as tape:
        w, _ = draws.sample_w(state.generator, None, half, training.seed, Phase.PATH_LENGTH, 0.9)
        seeds = draws.noise_seeds(half, training.seed, Phase.PATH_LENGTH)
        lengths = regularizers.path_lengths(
            lambda w: state.generator.synthesis(w, noise_mode="random", noise_seeds=seeds),
            w,
            draws.image_noise(state.generator, half, training.seed, Phase.PATH_LENGTH),
        )
        target = 0.4 + training.path_length_decay * (tf.reduce_mean(lengths) - 0.4)
        loss = training.path_length_weight * tf.reduce_mean(tf.square(lengths - target))
    expected = tape.gradient(loss, variables, unconnected_gradients="zero")
    before = [np.asarray(variable) for variable in variables]
    scalars = TrainStep(state, config, strategy).generator_regularize(positions, images, labels)
    rate = float(tf.convert_to_tensor(state.generator_optimizer.learning_rate))
    assert float(scalars["loss/path_length"]) == pytest.approx(float(loss), rel=1e-5)
    assert float(state.path_length_mean) == pytest.approx(float(target), rel=1e-6)
    moved = 0
    for variable, old, gradient in zip(variables, before, expected, strict=True):
        step = (old - np.asarray(variable)) / rate
        scale = np.abs(np.asarray(gradient)).max()
        # The step is a difference of weights, so their rounding is the only error.
        error = 2e-7 * (np.abs(old).max() + 1e-6) / rate + 1e-4 * scale
        assert np.abs(step - np.asarray(gradient)).max() <= error
        moved += scale > 0
    assert moved > len(variables) // 2


def test_latents_depend_only_on_position():
    state = create_state(tiny_config(), tf.distribute.get_strategy())

    def draw(positions, phase=Phase.GENERATOR, seed=0):
        positions = tf.constant(positions, tf.int64)
        return np.asarray(draws.sample_w(state.generator, None, positions, seed, phase, 0.9)[0])

    together, apart = draw([5, 6, 7]), draw([6])
    np.testing.assert_allclose(together[1], apart[0], atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 0.1
    assert np.abs(draw([6], Phase.DISCRIMINATOR) - apart).max() > 0.1
    assert np.abs(draw([6], seed=1) - apart).max() > 0.1


def test_style_mixing_has_its_probability_and_crosses_everywhere():
    state = create_state(tiny_config(), tf.distribute.get_strategy())
    num_ws = state.generator.config.num_ws
    positions = tf.range(2000, dtype=tf.int64)
    draw = tf.function(  # A graph, because an eager loop over samples is slow.
        lambda: draws.sample_w(state.generator, None, positions, 0, Phase.GENERATOR, 0.5)
    )
    w, first = draw()
    own = np.asarray(tf.reduce_all(w == first[:, None], axis=2))  # [N, num_ws]
    crossover = own.sum(axis=1)
    assert np.all(own == (np.arange(num_ws) < crossover[:, None])), "later layers, and only those"
    counts = np.bincount(crossover, minlength=num_ws + 1)
    assert counts[0] == 0
    assert counts[num_ws] == pytest.approx(1000, abs=120)
    assert counts[1:num_ws] == pytest.approx(1000 / (num_ws - 1), rel=0.35)


@pytest.fixture
def poisoned(monkeypatch):
    """Returns a variable: the number of the replica with a NaN gradient in the generator's loss.

    The loss itself stays finite. -1 is no replica.
    """
    victim = tf.Variable(-1, dtype=tf.int32, trainable=False)
    real = losses.generator_loss

    @tf.custom_gradient
    def poison(values):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        bad = tf.equal(tf.cast(replica, tf.int32), victim)
        return values, lambda upstream: tf.where(bad, np.nan, upstream)

    monkeypatch.setattr(losses, "generator_loss", lambda scores: poison(real(scores)))
    return victim


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "parts"), [("auto", 1), ("cpu:2", 2)])
def test_update_with_a_nan_gradient_is_skipped_on_every_replica(poisoned, devices, parts):
    config = tiny_config(
        training__accumulation_steps=parts,
        training__path_length_weight=0,
        training__r1_gamma=0,
    )
    strategy = choose_strategy(devices)
    state = create_state(config, strategy)
    step = TrainStep(state, config, strategy)
    last = strategy.num_replicas_in_sync - 1

    def run(iteration, victim):
        poisoned.assign(victim)
        return step.run(iteration, deal(strategy, batch_of(config, iteration)))

    run(0, -1)
    before = values_of(state)
    scalars = run(1, last)
    assert all(np.isfinite(float(value)) for value in scalars.values())
    after = values_of(state)
    for name, value in before.items():
        if name.startswith(("generator/", "generator_optimizer/")):
            np.testing.assert_array_equal(value, after[name], err_msg=name)
    for network in ("discriminator/", "generator_ema/"):  # The rest of the iteration runs.
        names = [name for name in before if name.startswith(network)]
        assert any(np.any(before[name] != after[name]) for name in names)
    assert list(after["generator_skips"]) == [1, 1]
    assert list(after["discriminator_skips"]) == [0, 0]
    assert int(scalars["skipped_in_a_row/generator"]) == 1
    run(2, -1)
    final = values_of(state)
    assert list(final["generator_skips"]) == [1, 0]
    assert any(
        np.any(after[name] != final[name]) for name in after if name.startswith("generator/")
    )
    for variable in state.generator.variables:  # All replicas agree.
        copies = strategy.experimental_local_results(raw_variable(variable))
        for copy in copies[1:]:
            np.testing.assert_array_equal(copies[0], copy)


def test_variable_that_is_not_finite_is_found_on_any_replica():
    config, strategy = tiny_config(), choose_strategy("cpu:2")
    state = create_state(config, strategy)
    step = TrainStep(state, config, strategy)
    assert step.not_finite() == []
    name, weight = next(
        (name, v)
        for name, v in state.variables().items()
        if name.startswith("generator_opt") and tf.as_dtype(v.dtype).is_floating and v.shape.rank
    )
    copies = strategy.experimental_local_results(raw_variable(weight))
    copies[1].assign(tf.fill(copies[1].shape, np.inf))
    assert step.not_finite() == [name]


@pytest.mark.slow
def test_native_and_tensorflow_implementations_train_alike():
    """20 iterations, with every lazy term, from the same seed."""
    require_native()
    states = []
    for name in ("native", "tensorflow"):
        with use_implementation(name):
            states.append(run_steps(tiny_config(**SGD), 20)[0])
    assert_states_agree(*states, tolerance=1e-5)
