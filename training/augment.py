"""Augmentation of pictures and their points: parameters are drawn first, then applied."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Spatial:
    """How far pictures are moved: fractions of the picture, degrees, factors around 1."""

    shift: float
    degrees: float
    scale: float
    aspect: float
    border: int = cv2.BORDER_CONSTANT


def draw_matrix(rng: np.random.Generator, spatial: Spatial, shape: tuple[int, int], out: tuple[int, int]) -> NDArray:
    """A random affine map (2, 3) in (x, y) order that takes the middle of a picture to near the middle of `out`."""
    angle = np.radians(rng.uniform(-spatial.degrees, spatial.degrees))
    scale = np.exp(rng.uniform(-1, 1) * np.log(spatial.scale))
    aspect = np.exp(rng.uniform(-0.5, 0.5) * np.log(spatial.aspect))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([scale * aspect, scale / aspect])
    source = (np.array(shape[::-1]) - 1) / 2
    target = (np.array(out[::-1]) - 1) / 2 + rng.uniform(-1, 1, 2) * spatial.shift * np.array(out[::-1])
    return np.hstack([linear, (target - linear @ source)[:, None]])


def warp(picture: NDArray, matrix: NDArray, out: tuple[int, int], *, border: int) -> NDArray:
    """The picture under an affine map."""
    return cv2.warpAffine(picture, matrix, out[::-1], flags=cv2.INTER_LINEAR, borderMode=border)


def move_points(points: NDArray, matrix: NDArray) -> NDArray:
    """Points (n, 2) row and column under the map; NaN stays NaN."""
    return (points[:, ::-1] @ matrix[:, :2].T + matrix[:, 2])[:, ::-1]


def vary_signal(picture: NDArray, rng: np.random.Generator, *, strength: float = 1.0) -> NDArray[np.float32]:
    """Gamma, gain, bias field, blur and noise on a picture with values 0..1, (..., rows, columns)."""
    varied = np.clip(picture.astype(np.float32), 0, None)
    if rng.random() < 0.8:
        varied = varied ** np.float32(np.exp(rng.normal(0, 0.25 * strength)))
    if rng.random() < 0.7:
        field = cv2.resize(rng.normal(0, 0.25 * strength, (4, 4)).astype(np.float32), picture.shape[:-3:-1])
        varied = varied * np.exp(field)
    if rng.random() < 0.3 * strength:
        sigma = rng.uniform(0.4, 1.2)
        varied = (
            cv2.GaussianBlur(varied, (0, 0), sigma)
            if varied.ndim == 2
            else np.stack([cv2.GaussianBlur(v, (0, 0), sigma) for v in varied])
        )
    if rng.random() < 0.5:
        varied = varied + rng.normal(0, rng.uniform(0.005, 0.05 * strength), varied.shape).astype(np.float32)
    return varied * np.float32(np.exp(rng.normal(0, 0.1 * strength)))
