"""Handwritten digits as production traffic: scikit-learn's bundled images, never quite the same twice.

The 1,797 images (8 x 8 pixels, 0 to 16) of the UCI test set are split once: what the offline models were
trained on, and what production sees. Every production image is moved by up to one pixel in each direction
and gets sensor noise, so no two requests are equal; the pool behind them is finite all the same.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

SIDE = 8
MAX_PIXEL = 16.0
FEATURES = tuple(f"pixel_{row}_{column}" for row in range(SIDE) for column in range(SIDE))
OFFLINE_IMAGES = 700

Images = NDArray[np.float64]
"""Shape (n, 64), values in 0..16."""
Labels = NDArray[np.str_]
"""Shape (n,): `"0"` to `"9"`."""


@dataclass(frozen=True, slots=True)
class Pools:
    """The two parts of the data set: `offline` was at hand before production, `production` is what comes."""

    offline_images: Images
    offline_labels: Labels
    production_images: Images
    production_labels: Labels


def load_pools() -> Pools:
    """Return the split data set; the same one every time."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images, names = images[order].astype(float), labels[order].astype(str)
    cut = OFFLINE_IMAGES
    return Pools(images[:cut], names[:cut], images[cut:], names[cut:])


def jitter(images: Images, random: np.random.Generator) -> Images:
    """Return the images, each moved by -1, 0 or 1 pixel along one axis and with noise of half a level."""
    squares = images.reshape(-1, SIDE, SIDE)
    moved = np.empty_like(squares)
    for index, (axis, step) in enumerate(
        zip(random.integers(0, 2, len(squares)), random.integers(-1, 2, len(squares)), strict=True)
    ):
        moved[index] = np.roll(squares[index], int(step), axis=int(axis))
    noisy = moved + random.normal(0.0, 0.5, moved.shape)
    return np.clip(noisy, 0.0, MAX_PIXEL).reshape(-1, SIDE * SIDE).round(2)


def sensor_fault(images: Images) -> Images:
    """Return what a broken camera sends: brightness reversed in the left half, and row 3 dead."""
    squares = images.reshape(-1, SIDE, SIDE).copy()
    squares[:, :, : SIDE // 2] = MAX_PIXEL - squares[:, :, : SIDE // 2]
    squares[:, 3, :] = 0.0
    return squares.reshape(-1, SIDE * SIDE).round(2)


def transposed(images: Images) -> Images:
    """Return the images with rows and columns swapped: a classic bug of a training pipeline."""
    return images.reshape(-1, SIDE, SIDE).transpose(0, 2, 1).reshape(-1, SIDE * SIDE)
