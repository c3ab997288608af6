"""The layers of both networks under one name, `tf_sg2.layers`.

equalized   dense and convolution layers with the equalised learning rate
modulated   modulated convolution, noise, and the layers made of them
statistics  normalisation, minibatch standard deviation
"""

from tf_sg2.networks.equalized import EqualizedConv2D, EqualizedDense
from tf_sg2.networks.modulated import ModulatedConv2D, NoiseInjection, StyledConv2D, ToRGB
from tf_sg2.networks.statistics import MinibatchStddev, normalize_second_moment

__all__ = [
    "EqualizedConv2D",
    "EqualizedDense",
    "MinibatchStddev",
    "ModulatedConv2D",
    "NoiseInjection",
    "StyledConv2D",
    "ToRGB",
    "normalize_second_moment",
]
