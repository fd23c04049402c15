"""Augmentation of pictures and their points: parameters are drawn first, then applied."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

HIDDEN_FROM = 25.0
"""Mean distance, in pixels beyond the margin around the points, from which `hide` covers a half-plane."""

BOX = (5.0, 35.0)
"""Range of half the sides of the boxes that `hide` covers, pixels."""


@dataclass(frozen=True)
class Spatial:
    """Ranges of the spatial augmentation: fractions of the picture, degrees, factors around 1."""

    shift: float
    degrees: float
    scale: float
    aspect: float
    border: int = cv2.BORDER_CONSTANT


def draw_matrix(
    rng: np.random.Generator, spatial: Spatial, shape: tuple[int, ...], out: tuple[int, int]
) -> NDArray[np.float64]:
    """A random affine map (2, 3) in (x, y) order that takes the middle of a picture to near the middle of `out`."""
    angle = np.radians(rng.uniform(-spatial.degrees, spatial.degrees))
    scale = np.exp(rng.uniform(-1, 1) * np.log(spatial.scale))
    aspect = np.exp(rng.uniform(-0.5, 0.5) * np.log(spatial.aspect))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([scale * aspect, scale / aspect])
    source = (np.array(shape[::-1]) - 1) / 2
    target = (np.array(out[::-1]) - 1) / 2 + rng.uniform(-1, 1, 2) * spatial.shift * np.array(out[::-1])
    return np.hstack([linear, (target - linear @ source)[:, None]])


def warp(
    picture: NDArray[np.uint8], matrix: NDArray[np.float64], out: tuple[int, int], *, border: int
) -> NDArray[np.uint8]:
    """The picture under an affine map."""
    moved: NDArray[np.uint8] = cv2.warpAffine(picture, matrix, out[::-1], flags=cv2.INTER_LINEAR, borderMode=border)
    return moved


def move_points(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (n, 2) row and column under the map; NaN stays NaN."""
    moved: NDArray[np.float64] = points[:, ::-1] @ matrix[:, :2].T + matrix[:, 2]
    return moved[:, ::-1]


def vary_signal(picture: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Gamma, gain, bias field, blur and noise on a picture with values 0..1, (rows, columns)."""
    varied = np.clip(picture.astype(np.float32), 0, None)
    if rng.random() < 0.8:
        varied = varied ** np.float32(np.exp(rng.normal(0, 0.25)))
    if rng.random() < 0.7:
        field = cv2.resize(rng.normal(0, 0.25, (4, 4)).astype(np.float32), picture.shape[::-1])
        varied = varied * np.exp(field)
    if rng.random() < 0.3:
        varied = cv2.GaussianBlur(varied, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < 0.5:
        varied = varied + rng.normal(0, rng.uniform(0.005, 0.05), varied.shape).astype(np.float32)
    return varied * np.float32(np.exp(rng.normal(0, 0.1)))


def hide(
    picture: NDArray[np.float32], points: NDArray[np.float64], rng: np.random.Generator, *, room: float
) -> NDArray[np.float32]:
    """Cover parts of a picture that are at least `room` pixels away from its points.

    Up to three half-planes and three boxes are covered, so that levels cannot be counted by distant structures.

    Args:
        picture: (rows, columns), values about 0..1.
        points: (n, 2) row and column; NaN where a point is not shown.
        rng: draws what is covered.
        room: pixels around the points that stay visible.
    """
    covered = picture.astype(np.float32)
    shown = points[~np.isnan(points).any(axis=1)]
    if not len(shown):
        return covered
    rows, columns = np.indices(picture.shape, dtype=np.float32)
    for _ in range(int(rng.integers(1, 4))):
        angle = rng.uniform(0, 2 * np.pi)
        away = np.array([np.sin(angle), np.cos(angle)], dtype=np.float32)
        edge = (shown @ away).max() + room + rng.exponential(HIDDEN_FROM)
        covered = np.where(rows * away[0] + columns * away[1] > edge, _filling(picture.shape, rng), covered)
    for _ in range(int(rng.integers(0, 4))):
        half, centre = rng.uniform(*BOX, 2), rng.uniform(0, picture.shape)
        if (np.abs(shown - centre) < half + room).all(axis=1).any():
            continue
        inside = (np.abs(rows - centre[0]) < half[0]) & (np.abs(columns - centre[1]) < half[1])
        covered = np.where(inside, np.float32(rng.uniform(0, 1)), covered)
    return covered


def without_anatomy(
    picture: NDArray[np.uint8], rng: np.random.Generator, *, kind: str | None = None
) -> NDArray[np.uint8]:
    """A picture that shows no anatomy, with grey values from black to white.

    Args:
        picture: (rows, columns), whose size, or whose parts or spectrum, it takes over.
        rng: draws what is random in it, and the kind unless it is given.
        kind: one of `NOTHING`.
    """
    made = NOTHING[kind or str(rng.choice([*NOTHING]))](picture, rng)
    low, high = np.percentile(made, [1, 99])
    scaled: NDArray[np.uint8] = np.clip((made - low) * (255 / max(high - low, 1e-6)), 0, 255).astype(np.uint8)
    return scaled


def _noise(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise of some grain on a coarse background, or that background alone."""
    made = rng.normal(size=picture.shape) * rng.choice([0.0, 1.0], p=[0.2, 0.8])
    if (grain := rng.uniform(0, 8)) > 0.5:
        made = cv2.GaussianBlur(made, (0, 0), grain) * grain
    coarse = cv2.resize(rng.normal(size=(4, 4)), picture.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(made + rng.uniform(0, 1) * coarse)


def _shuffled(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float64]:
    """The picture cut into 3 × 3 to 8 × 8 square tiles, which change places and are turned."""
    count = int(rng.integers(3, 9))
    side = min(picture.shape) // count
    grid = picture[: side * count, : side * count].reshape(count, side, count, side).swapaxes(1, 2)
    tiles = rng.permutation(grid.reshape(-1, side, side))
    turned = np.stack([np.rot90(tile, int(rng.integers(4))) for tile in tiles]).reshape(count, count, side, side)
    joined = turned.swapaxes(1, 2).reshape(side * count, side * count)
    return np.asarray(cv2.resize(joined, picture.shape[::-1]), np.float64)


def _scrambled(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float64]:
    """A picture with the spectrum of this one and random phases."""
    phases = np.angle(np.fft.fft2(rng.normal(size=picture.shape)))
    return np.asarray(np.real(np.fft.ifft2(np.abs(np.fft.fft2(picture)) * np.exp(1j * phases))))


NOTHING = {"noise": _noise, "shuffled tiles": _shuffled, "scrambled phases": _scrambled}
"""Kinds of pictures without anatomy."""


def _filling(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Contents of a covered half-plane: black, an even grey or blotches of a random size."""
    if rng.random() < 0.5:
        return np.full(shape, max(rng.uniform(-0.1, 0.5), 0), np.float32)
    blotches = rng.uniform(0, 1.2, (int(rng.integers(2, 40)),) * 2).astype(np.float32)
    filling: NDArray[np.float32] = cv2.resize(blotches, shape[::-1])
    return filling
