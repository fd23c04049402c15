"""Smooth noise that belongs to the body, so that all series of a study show the same grain."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lumbar_kernel.arrays import Float32Array

SIDE = 64
"""Nodes along each edge of the repeating block; a power of two."""


@dataclass(frozen=True, eq=False)
class Texture:
    """A block of noise that repeats in all directions, mean 0 and variance 1, flattened."""

    values: Float32Array

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Texture:
        """New noise, correlated over about five nodes."""
        block = rng.standard_normal((SIDE, SIDE * SIDE), dtype=np.float32)
        for axis in range(3):
            flat = np.ascontiguousarray(np.moveaxis(block.reshape(SIDE, SIDE, SIDE), axis, 0)).reshape(SIDE, -1)
            padded = np.concatenate([flat[-8:], flat, flat[:8]])
            smooth = cv2.GaussianBlur(padded, (1, 17), sigmaX=0.1, sigmaY=2.2)[8:-8]
            block = np.moveaxis(smooth.reshape(SIDE, SIDE, SIDE), 0, axis).reshape(SIDE, -1)
        return cls((block / block.std()).ravel().astype(np.float32))

    def at(self, u: Float32Array, v: Float32Array, s: Float32Array, nodes: tuple[float, float, float]) -> Float32Array:
        """Noise at points, float32 of their shape; `nodes` gives the nodes per mm along u, v and s."""
        index = np.zeros(u.shape, dtype=np.int32)
        for values, density in zip((u, v, s), nodes, strict=True):
            # A power of two wraps by masking, for negative places too.
            node = (values * np.float32(density)).astype(np.int32) & (SIDE - 1)
            index = index * SIDE + node
        return self.values.take(index, mode="wrap")  # no check of bounds: twice as fast
