"""What each configuration field means, in a line: the text of its command-line flag."""

from __future__ import annotations

_NETWORK = {
    "image_size": "HxW; follows from the data set",
    "image_channels": "1, 3 or 4; follows from the data set",
    "label_dim": "width of the labels, 0 without; see --labels",
    "channel_base": "channels of a level are channel_base / its square size",
    "channel_max": "at most so many channels a level",
    "conv_clamp": "largest absolute activation, or none",
    "resample_filter": "taps of the up- and downsampling filter",
}
_OPTIMIZER = {
    "name": "a class of keras.optimizers, or Addons>LAMB and its like on the addons stack",
    "learning_rate": "before the correction for lazy regularisation",
    "beta_1": "decay of the first moment, before that correction",
    "beta_2": "decay of the second moment, before that correction",
    "epsilon": "small number in the denominator",
    "arguments": "further arguments of the optimiser, as a JSON object",
}

MEANINGS: dict[str, str] = {
    **{f"generator.{name}": text for name, text in _NETWORK.items()},
    "generator.architecture": "skip, resnet or orig",
    "generator.z_dim": "width of the latent z",
    "generator.w_dim": "width of w",
    "generator.mapping_layers": "dense layers of the mapping network",
    "generator.mapping_lr_multiplier": "factor on their learning rate",
    "generator.w_avg_beta": "decay of the running mean of w, which truncation needs",
    **{f"discriminator.{name}": text for name, text in _NETWORK.items()},
    "discriminator.architecture": "resnet, skip or orig",
    "discriminator.minibatch_stddev_group": "samples a group of the stddev layer, 0 for none",
    **{f"generator_optimizer.{name}": text for name, text in _OPTIMIZER.items()},
    **{f"discriminator_optimizer.{name}": text for name, text in _OPTIMIZER.items()},
    "data.source": "the same as --data",
    "data.mirror": "true flips images left to right, at random",
    "training.total_kimg": "kimg to train",
    "training.batch_size": "images in an iteration, over all devices",
    "training.accumulation_steps": "parts that a device's share is computed in, for less memory",
    "training.seed": "of weights, latents, noise and the order of the images",
    "training.tf32": "true lets GPUs compute products in TF32: faster, 10 bits of mantissa",
    "training.r1_gamma": "weight of R1 regularisation; 0 for none",
    "training.r1_interval": "iterations between its steps; 0 for none",
    "training.path_length_weight": "weight of path-length regularisation; 0 for none",
    "training.path_length_interval": "iterations between its steps; 0 for none",
    "training.path_length_decay": "how fast the mean path length moves",
    "training.path_length_batch_divisor": "its steps use this fraction of the batch",
    "training.style_mixing_probability": "share of samples that two latents make",
    "training.ema_kimg": "half-life of the averaged generator, in kimg",
    "training.ema_rampup": "its half-life is at most this share of the run so far, or none",
    "training.tick_kimg": "kimg between lines of the log",
    "training.checkpoint_kimg": "kimg between checkpoints",
    "training.checkpoints_kept": "checkpoints that are kept",
    "training.sample_kimg": "kimg between sample pictures",
    "training.sample_rows": "rows of a sample picture",
    "training.sample_columns": "columns of a sample picture",
    "training.sample_truncation_psi": "truncation of the samples; psi 1 is shown as well",
}
