"""Textures: albedo as a function of surface coordinates in metres."""
from colorsys import hsv_to_rgb
from typing import Callable, Sequence, Tuple

import numpy as np

__all__ = ['Texture', 'make_texture', 'noise', 'random_colour']

# Maps surface coordinates u and v, each (N, ), to linear RGB (N, 3).
Texture = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _fraction(x: np.ndarray) -> np.ndarray:
    return x - np.floor(x)


def _per_cell(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A pseudo-random number in [0, 1) for each cell of the unit grid."""
    return _fraction(
        np.sin(np.floor(u) * 12.9898 + np.floor(v) * 78.233) * 43758.5453)


def noise(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Smooth noise in [0, 1) that varies at the scale of the unit grid."""
    s, t = (f * f * (3 - 2 * f) for f in (_fraction(u), _fraction(v)))
    top = _per_cell(u, v) * (1 - s) + _per_cell(u + 1, v) * s
    low = _per_cell(u, v + 1) * (1 - s) + _per_cell(u + 1, v + 1) * s
    return top * (1 - t) + low * t


def _seams(u: np.ndarray, v: np.ndarray, width: float) -> np.ndarray:
    """1 in a strip of ``width`` along two edges of each cell, else 0."""
    return (np.minimum(_fraction(u), _fraction(v)) < width).astype(float)


# How much of the second colour a pattern mixes into the first, as a function
# of the coordinates in cells.
_PATTERNS = dict(
    plain=lambda u, v: np.zeros_like(u),
    checker=lambda u, v: (np.floor(u) + np.floor(v)) % 2,
    stripes=lambda u, v: (_fraction(v) < 0.5).astype(float),
    wallpaper=lambda u, v: (_fraction(u) < 0.4).astype(float),
    tiles=lambda u, v: _seams(u, v, 0.07),
    bricks=lambda u, v: _seams(u + 0.5 * (np.floor(2 * v) % 2), 2 * v, 0.09),
    planks=lambda u, v: np.maximum(
        _fraction(v) < 0.1, 0.5 * _per_cell(np.zeros_like(u), v)),
    ribs=lambda u, v: 0.5 + 0.5 * np.cos(2 * np.pi * u),
    mosaic=_per_cell,
    clouds=noise)


def make_texture(rng: np.random.Generator, pattern: str,
                 first: Sequence[float], second: Sequence[float],
                 cell: float) -> Texture:
    """A texture of two colours whose pattern repeats every ``cell`` metres."""
    first, second = np.asarray(first), np.asarray(second)
    shift_u, shift_v = rng.uniform(0, 50, 2)
    grain = rng.uniform(0.05, 0.3)

    def albedo(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        mix = _PATTERNS[pattern](u / cell + shift_u, v / cell + shift_v)
        mottle = 1 + grain * (noise(u * 9 + shift_v, v * 9 + shift_u) - 0.5)
        colour = first + (second - first) * mix[:, None]
        return colour * mottle[:, None]

    return albedo


def random_colour(rng: np.random.Generator, hue: Tuple[float, float],
                  saturation: Tuple[float, float],
                  value: Tuple[float, float]) -> np.ndarray:
    """A random colour, linear RGB in [0, 1]."""
    hsv = [rng.uniform(*limits) for limits in (hue, saturation, value)]
    return np.array(hsv_to_rgb(hsv[0] % 1, hsv[1], hsv[2]))**2.2
