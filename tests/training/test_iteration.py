"""A whole iteration against the paper, written out in float64 with plain TensorFlow functions.

Nothing of the networks, losses, optimisers or the step is used below, only random numbers: the
draws are part of the input. The paper is Karras et al. 2019 (StyleGAN2), [K17] Karras et al. 2017.
"""

import math

import numpy as np
import pytest
import tensorflow as tf

from tf_sg2.config import override
from tf_sg2.networks import randomness
from tf_sg2.training.state import create_state
from tf_sg2.training.step import TrainStep
from tf_sg2.weights import export_torch_state
from tiny_config import tiny_config

HEIGHT, WIDTH, BATCH, GROUP = 8, 10, 4, 2
NUM_WS, Z_DIM = 4, 8
BLOCKS = ("b4", "b8")  # 4x5 and 8x10, both with 8 channels.
GAMMA, R1_INTERVAL, PL_WEIGHT, PL_INTERVAL, PL_DECAY = 3.0, 3, 2.0, 2, 0.01
EMA_KIMG, RATE, BETA_2, EPSILON, W_AVG_BETA = 0.05, 0.0025, 0.99, 1e-3, 0.995
SEED, PATH_LENGTH_MEAN, MIXING = 5, 0.4, 0.9

SETTINGS = {
    "generator.image_size": (HEIGHT, WIDTH),
    "discriminator.image_size": (HEIGHT, WIDTH),
    "discriminator.minibatch_stddev_group": GROUP,
    "training.seed": SEED,
    "training.batch_size": BATCH,
    "training.r1_gamma": GAMMA,
    "training.r1_interval": R1_INTERVAL,
    "training.path_length_weight": PL_WEIGHT,
    "training.path_length_interval": PL_INTERVAL,
    "training.path_length_decay": PL_DECAY,
    "training.style_mixing_probability": MIXING,
    "training.ema_kimg": EMA_KIMG,
    "training.ema_rampup": None,
}
SQRT2 = math.sqrt(2)


def leaky(x):
    """[K17] section 4.1's gain for the leaky ReLU of slope 0.2 is that of a ReLU, √2."""
    return tf.where(x < 0, 0.2 * x, x) * SQRT2


def dense(x, p, name, multiplier=1.0):
    """Equalised learning rate: the weight, [out, in], by 1/√fan_in when it is used."""
    weight = p[f"{name}.weight"] * (multiplier / math.sqrt(p[f"{name}.weight"].shape[1]))
    return x @ tf.transpose(weight) + p[f"{name}.bias"] * multiplier


def correlate(x, kernel):
    """[N, H, W, C], kernel [out, in, k, k]; no padding."""
    return tf.nn.conv2d(x, tf.transpose(kernel, [2, 3, 1, 0]), 1, "VALID")


def pad(x, before, after):
    return tf.pad(x, [[0, 0], [before, after], [before, after], [0, 0]])


def low_pass(x, gain=1.0):
    """The binomial filter [1, 3, 3, 1] in both directions, on every channel; no padding."""
    taps = np.array([1, 3, 3, 1]) / 8
    kernel = np.zeros([4, 4, x.shape[3], 1])
    kernel[:, :, :, 0] = np.outer(taps, taps)[:, :, None] * gain
    return tf.nn.depthwise_conv2d(x, tf.constant(kernel), [1, 1, 1, 1], "VALID")


def spread(x):
    """Inserts zeros: each pixel becomes the first of 2x2."""
    n, h, w, c = x.shape
    x = tf.stack([x, tf.zeros_like(x)], axis=3)  # [N, H, W, 2, C]
    x = tf.stack([x, tf.zeros_like(x)], axis=2)  # [N, H, 2, W, 2, C]
    return tf.reshape(x, [n, 2 * h, 2 * w, c])


def upsample(image):
    return low_pass(pad(spread(image), 2, 1), gain=4.0)


# The generator, figures 2 (d) and 7 (output skips).


def mapping(p, z):
    x = z / tf.sqrt(tf.reduce_mean(z**2, axis=1, keepdims=True) + 1e-8)
    for i in range(2):
        x = leaky(dense(x, p, f"mapping.fc{i}", 0.01))
    return x


def modulated(x, p, name, w, up=False):
    """Equations 1 and 3, with one kernel for each sample."""
    styles = dense(w, p, f"{name}.affine")  # [N, in]
    outputs = []
    for n in range(x.shape[0]):
        kernel = p[f"{name}.weight"] * styles[n][None, :, None, None]
        norm = tf.sqrt(tf.reduce_sum(kernel**2, axis=[1, 2, 3], keepdims=True) + 1e-8)
        kernel = kernel / norm
        one = x[n : n + 1]
        if up:  # A transposed convolution spreads the kernel around every pixel.
            flipped = tf.reverse(kernel, [2, 3])
            one = correlate(pad(spread(one), 2, 1), flipped)  # [1, 2h + 1, 2w + 1, out]
            one = low_pass(pad(one, 1, 1), gain=4.0)
        else:
            one = correlate(pad(one, 1, 1), kernel)
        outputs.append(one)
    return tf.concat(outputs, axis=0)


def styled(x, p, name, w, noise, up=False):
    x = modulated(x, p, name, w, up)
    return leaky(x + noise[..., None] * p[f"{name}.noise_strength"] + p[f"{name}.bias"])


def to_rgb(x, p, name, w):
    """Modulation without demodulation; equalised by 1/√channels."""
    styles = dense(w, p, f"{name}.affine") / math.sqrt(x.shape[3])
    kernel = p[f"{name}.weight"]
    return correlate(x * styles[:, None, None, :], kernel) + p[f"{name}.bias"]


def synthesis(p, w, noises):
    const = tf.transpose(p["synthesis.b4.const"], [1, 2, 0])
    x = tf.tile(const[None], [w.shape[0], 1, 1, 1])
    x = styled(x, p, "synthesis.b4.conv1", w[:, 0], noises[0])
    image = to_rgb(x, p, "synthesis.b4.torgb", w[:, 1])
    x = styled(x, p, "synthesis.b8.conv0", w[:, 1], noises[1], up=True)
    x = styled(x, p, "synthesis.b8.conv1", w[:, 2], noises[2])
    return upsample(image) + to_rgb(x, p, "synthesis.b8.torgb", w[:, 3])


# The discriminator, figure 7 (residual).


def conv(x, p, name, down=False):
    kernel = p[f"{name}.weight"]
    k = kernel.shape[2]
    kernel = kernel / math.sqrt(kernel.shape[1] * k * k)
    if not down:
        return correlate(pad(x, k // 2, k // 2), kernel)
    before, after = (2, 2) if k == 3 else (1, 1)
    return correlate(low_pass(pad(x, before, after)), kernel)[:, ::2, ::2]


def discriminator(p, images):
    x = leaky(conv(images, p, "b8.fromrgb") + p["b8.fromrgb.bias"])
    shortcut = conv(x, p, "b8.skip", down=True)
    x = leaky(conv(x, p, "b8.conv0") + p["b8.conv0.bias"])
    x = leaky(conv(x, p, "b8.conv1", down=True) + p["b8.conv1.bias"])
    x = (x + shortcut) / SQRT2
    # [K17] section 3, in groups: n, n + N/G, n + 2N/G ... are one.
    groups = x.shape[0] // GROUP
    statistics = []
    for first in range(groups):
        members = tf.stack([x[n] for n in range(first, x.shape[0], groups)])
        deviation = tf.sqrt(tf.math.reduce_variance(members, axis=0) + 1e-8)
        statistics.append(tf.reduce_mean(deviation))
    channel = tf.stack([statistics[n % groups] for n in range(x.shape[0])])
    channel = tf.tile(channel[:, None, None, None], [1, *x.shape[1:3], 1])
    x = leaky(conv(tf.concat([x, channel], axis=3), p, "b4.conv") + p["b4.conv.bias"])
    x = tf.reshape(tf.transpose(x, [0, 3, 1, 2]), [x.shape[0], -1])
    return dense(leaky(dense(x, p, "b4.fc")), p, "b4.out")[:, 0]


# What a sample draws, by its position: latents, a second one, style mixing, noises.


def draw(phase, kind, shape, count, sample=randomness.normal):
    seeds = [[(SEED * 8 + phase) * 8 + kind, position] for position in range(count)]
    return tf.cast(sample(tf.constant(seeds, tf.int64), shape), tf.float64)


def mixed_w(p, phase, count):
    """Returns w of all layers, [N, NUM_WS, w_dim], and the first latent's."""
    first = mapping(p, draw(phase, 0, [Z_DIM], count))
    second = mapping(p, draw(phase, 1, [Z_DIM], count))
    coins = draw(phase, 2, [2], count, randomness.uniform).numpy()
    rows = []
    for n in range(count):
        crossover = 1 + int(coins[n, 1] * (NUM_WS - 1)) if coins[n, 0] < MIXING else NUM_WS
        rows.append(tf.stack([(first if i < crossover else second)[n] for i in range(NUM_WS)]))
    return tf.stack(rows), first


def noises_of(phase, count):
    flat = draw(phase, 3, [20 + 80 + 80], count)
    parts = tf.split(flat, [20, 80, 80], axis=1)
    return [
        tf.reshape(part, [count, *size])
        for part, size in zip(parts, [(4, 5), (8, 10), (8, 10)], strict=True)
    ]


def softplus(x):
    return tf.math.log1p(tf.exp(x))


class Sgd:
    def update(self, values, gradients, c):
        for name, gradient in gradients.items():
            values[name] = values[name] - RATE * c * gradient


class Adam:
    """Kingma and Ba 2014, algorithm 1, with beta_1 = 0; corrected by c = k/(k+1) (appendix B)."""

    def __init__(self):
        self.steps, self.second = 0, {}

    def update(self, values, gradients, c):
        self.steps += 1
        beta = BETA_2**c
        for name, gradient in gradients.items():
            v = beta * self.second.get(name, 0.0) + (1 - beta) * gradient**2
            self.second[name] = v
            # In the form whose epsilon is added to the uncorrected √v (their section 2).
            rate = RATE * c * math.sqrt(1 - beta**self.steps)
            values[name] = values[name] - rate * gradient / (tf.sqrt(v) + EPSILON)


class Paper:
    """The state of training, all of it float64, and one iteration with every term."""

    def __init__(self, arrays, optimizer):
        tensors = {name: tf.constant(value, tf.float64) for name, value in arrays.items()}
        self.g = {name[2:]: value for name, value in tensors.items() if name.startswith("G/")}
        self.d = {name[2:]: value for name, value in tensors.items() if name.startswith("D/")}
        self.ema = dict(self.g)
        self.optimizers = {"g": optimizer(), "d": optimizer()}
        self.mean, self.scalars = tf.constant(PATH_LENGTH_MEAN, tf.float64), {}

    def step(self, which, interval, loss_of):
        values = getattr(self, which)
        fixed = ("w_avg", "noise_const")
        trained = {name: value for name, value in values.items() if not name.endswith(fixed)}
        with tf.GradientTape() as tape:
            tape.watch(trained)
            loss = loss_of({**values, **trained})
        gradients = tape.gradient(loss, trained, unconnected_gradients="zero")
        self.optimizers[which].update(values, gradients, interval / (interval + 1))

    def iteration(self, reals):
        self.step("g", PL_INTERVAL, self.generator_loss)
        w_avg = self.g["mapping.w_avg"]
        self.g["mapping.w_avg"] = W_AVG_BETA * w_avg + (1 - W_AVG_BETA) * self.w_mean
        self.step("g", PL_INTERVAL, self.path_length_loss)
        self.step("d", R1_INTERVAL, lambda d: self.discriminator_loss(d, reals))
        half_lives = BATCH / (EMA_KIMG * 1000)
        for name, value in self.g.items():
            kept = 0.0 if name.endswith(("w_avg", "noise_const")) else 0.5**half_lives
            self.ema[name] = kept * self.ema[name] + (1 - kept) * value
        self.step("d", R1_INTERVAL, lambda d: self.r1_loss(d, reals))

    def generator_loss(self, g):
        w, first = mixed_w(g, 0, BATCH)
        self.w_mean = tf.reduce_mean(first, axis=0)
        loss = tf.reduce_mean(
            softplus(-discriminator(self.d, synthesis(g, w, noises_of(0, BATCH))))
        )
        self.scalars["loss/generator"] = loss
        return loss

    def path_length_loss(self, g):
        """Equation 4 with its moving target; half a batch (appendix B)."""
        count = BATCH // 2
        y = draw(1, 4, [HEIGHT, WIDTH, 3], count) / math.sqrt(HEIGHT * WIDTH)
        w, _ = mixed_w(g, 1, count)
        with tf.GradientTape() as tape:
            tape.watch(w)
            product = tf.reduce_sum(synthesis(g, w, noises_of(1, count)) * y)
        gradient = tape.gradient(product, w)
        lengths = tf.sqrt(tf.reduce_mean(tf.reduce_sum(gradient**2, axis=2), axis=1))
        self.mean = self.mean + PL_DECAY * (tf.reduce_mean(lengths) - self.mean)
        penalty = tf.reduce_mean((lengths - self.mean) ** 2) * PL_WEIGHT
        self.scalars["loss/path_length"] = penalty
        return penalty * PL_INTERVAL

    def discriminator_loss(self, d, reals):
        w, _ = mixed_w(self.g, 2, BATCH)
        fakes = synthesis(self.g, w, noises_of(2, BATCH))
        loss = tf.reduce_mean(softplus(-discriminator(d, reals)))
        loss += tf.reduce_mean(softplus(discriminator(d, fakes)))
        self.scalars["loss/discriminator"] = loss
        return loss

    def r1_loss(self, d, reals):
        """Mescheder et al. 2018, equation 9: gamma / 2 times the mean squared norm."""
        with tf.GradientTape() as tape:
            tape.watch(reals)
            scores = tf.reduce_sum(discriminator(d, reals))
        gradient = tape.gradient(scores, reals)
        loss = GAMMA / 2 * tf.reduce_mean(tf.reduce_sum(gradient**2, axis=[1, 2, 3]))
        self.scalars["loss/r1"] = loss
        return loss * R1_INTERVAL


def random_state(config):
    """A state whose biases, noise strengths and w_avg are not zero."""
    state = create_state(config, tf.distribute.get_strategy())
    rng = np.random.default_rng(2)
    for network in (state.generator, state.discriminator):
        for weight in network.weights:
            weight.assign(np.asarray(weight) + 0.2 * rng.normal(size=weight.shape))
    for ours, theirs in zip(state.generator_ema.weights, state.generator.weights, strict=True):
        ours.assign(tf.convert_to_tensor(theirs))
    state.path_length_mean.assign(PATH_LENGTH_MEAN)
    return state


def assert_moved_alike(before, ours, theirs):
    """Compares how far every weight went, relative to the farthest in it."""
    assert ours.keys() == theirs.keys() == before.keys()
    moved = 0
    for name, start in before.items():
        expected = theirs[name].numpy() - start
        error = np.abs(ours[name] - start - expected).max()
        # What float32 loses where weights of that size are stored and subtracted.
        rounding = 3e-7 * (np.abs(start).max() + 1e-3)
        assert error <= 2e-3 * np.abs(expected).max() + rounding, (name, error)
        moved += np.abs(expected).max() > 100 * rounding
    assert moved > len(before) // 3


@pytest.mark.parametrize(
    ("name", "optimizer"), [("SGD", Sgd), pytest.param("Adam", Adam, marks=pytest.mark.slow)]
)
def test_iteration_equals_the_paper_in_float64(name, optimizer):
    networks = {}
    for network in ("generator", "discriminator"):
        networks[f"{network}_optimizer.name"] = name
        networks[f"{network}_optimizer.learning_rate"] = RATE
        networks[f"{network}_optimizer.epsilon"] = EPSILON
    config = override(tiny_config(), {**SETTINGS, **networks})
    state = random_state(config)
    before = export_torch_state(state.generator, state.discriminator)
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (BATCH, HEIGHT, WIDTH, 3)).astype(np.uint8)
    inputs = (tf.range(BATCH, dtype=tf.int64), tf.constant(pixels), tf.zeros([BATCH, 0]))
    scalars = TrainStep(state, config, tf.distribute.get_strategy()).run(0, inputs)

    paper = Paper(before, optimizer)
    paper.iteration(tf.constant(pixels / 127.5 - 1))
    for key, value in paper.scalars.items():
        assert float(scalars[key]) == pytest.approx(float(value), rel=1e-4), key
    assert float(state.path_length_mean) == pytest.approx(float(paper.mean), rel=1e-5)
    theirs = {f"G/{key}": value for key, value in paper.g.items()}
    theirs |= {f"D/{key}": value for key, value in paper.d.items()}
    ours = export_torch_state(state.generator, state.discriminator)
    assert_moved_alike(before, ours, theirs)
    average = {f"G/{key}": value for key, value in paper.ema.items()}
    start = {key: value for key, value in before.items() if key.startswith("G/")}
    assert_moved_alike(start, export_torch_state(state.generator_ema, None), average)
