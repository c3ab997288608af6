"""Augmentation of the images that enter the discriminator, so that few images suffice.

Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data".
"""

from tf_sg2.training.augment.parameters import debug_parameters, draw_parameters, transforms_of
from tf_sg2.training.augment.pipeline import apply

__all__ = ["apply", "debug_parameters", "draw_parameters", "transforms_of"]
