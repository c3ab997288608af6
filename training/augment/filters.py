"""The wavelet filters of the pipeline.

Source: Karras et al. 2020 (limited data), appendix B: sym6 for resampling, sym2 for the bands.
"""

from __future__ import annotations

from functools import cache

import numpy as np

# Symlets of Daubechies 1992 with 6 and 2 vanishing moments, as low-pass taps of sum √2.
SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
    *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
    *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
)
SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)

BANDS = 4
# The power spectrum of natural images falls as 1/f, which gives the bands these shares.
BAND_POWER = np.array([10, 1, 1, 1]) / 13


def resampling_taps() -> np.ndarray:
    """Returns the taps of the resampling filter, float64 [12], of sum 1."""
    taps = np.array(SYM6)
    return taps / taps.sum()


@cache
def band_taps() -> np.ndarray:
    """Returns the filters of the four bands, float64 [4, 43], that sum to a unit impulse.

    Each octave splits what is left into a low half and a high half. Both are autocorrelations of
    wavelet taps, so they are symmetric and add up to an impulse.
    """
    low = np.array(SYM2)
    high = low * (-1.0) ** np.arange(len(low))
    low_half, high_half = (np.convolve(taps, taps[::-1]) / 2 for taps in (low, high))
    bank = np.eye(BANDS, 1)
    for band in range(1, BANDS):
        spread = np.zeros([BANDS, 2 * bank.shape[1] - 1])
        spread[:, ::2] = bank
        bank = np.stack([np.convolve(row, low_half) for row in spread])
        first = (bank.shape[1] - len(high_half)) // 2
        bank[band, first : first + len(high_half)] += high_half
    return bank
