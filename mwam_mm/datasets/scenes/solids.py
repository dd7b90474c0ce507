"""Geometry: solids, and what a ray meets first."""
from dataclasses import dataclass, field
from typing import List, Sequence, Tuple

import numpy as np

from .textures import Texture

__all__ = ['Solid', 'trace', 'unit', 'visible']

# x^2 + y^2 + a z^2 + b z + c = 0, cut to -1 <= z <= 1 and closed by caps.
_QUADRICS = dict(
    ball=(1., 0., -1.), cylinder=(0., 0., -1.), cone=(-0.25, 0.5, -0.25))


@dataclass
class Solid:
    """An object of the scene, or the room itself, which is seen from inside.

    ``half`` are its half extents in metres; in object coordinates, which are
    divided by them, every shape fills -1..1. The columns of ``rotation`` are
    the object's axes.
    """
    category: int
    shape: str
    centre: np.ndarray
    half: np.ndarray
    textures: List[Texture]  # one, or one for each axis a face looks along
    temperature: float
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    shine: float = 0.
    gradient: float = 0.  # degrees from the middle to the top
    inside: bool = False

    @property
    def radius(self) -> float:
        """float: Radius in metres of the sphere around the solid."""
        return float(np.linalg.norm(self.half))

    def to_object(self, vectors: np.ndarray) -> np.ndarray:
        """Turn world vectors (N, 3) into object coordinates."""
        return vectors @ self.rotation / self.half

    def hit(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Smallest t > 0 at which ``origin + t direction`` meets the solid.

        Args:
            origins (np.ndarray): Where the rays start, in metres, (N, 3).
            directions (np.ndarray): Where they go, of any length, (N, 3).

        Returns:
            np.ndarray: One t for each ray, (N, ); inf for rays that miss.
        """
        o = self.to_object(origins - self.centre)
        d = self.to_object(directions)
        d = np.where(np.abs(d) < 1e-9, 1e-9, d)
        if self.shape == 'box':
            sides = np.stack([(-1 - o) / d, (1 - o) / d])
            near, far = sides.min(0).max(1), sides.max(0).min(1)
            t = far if self.inside else near
            return np.where((near <= far) & (t > 1e-6), t, np.inf)
        return _hit_quadric(o, d, *_QUADRICS[self.shape])

    def surface(self, points: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Normals and albedo at ``points`` (N, 3) on the surface."""
        local = self.to_object(points - self.centre)
        metres = local * self.half
        if self.shape == 'box':
            axis = np.abs(local).argmax(1)
            normal = np.eye(3)[axis] * np.sign(local)
            if self.inside:
                normal = -normal
            u = np.where(axis == 0, metres[:, 1], metres[:, 0])
            v = np.where(axis == 2, metres[:, 1], metres[:, 2])
            # The ceiling has another texture than the floor.
            axis = axis + (local[:, 2] > 0) * (axis == 2)
        else:
            a, b, c = _QUADRICS[self.shape]
            x, y, z = local.T
            normal = np.stack([2 * x, 2 * y, 2 * a * z + b], 1)
            on_cap = x * x + y * y + a * z * z + b * z + c < -1e-6
            normal[on_cap] = np.sign(z[on_cap, None]) * [0, 0, 1]
            u = np.arctan2(y, x) * self.half[0]
            v = metres[:, 2]
            axis = np.zeros(len(points), int)
        albedo = np.empty_like(points)
        for i, texture in enumerate(self.textures):
            here = np.minimum(axis, len(self.textures) - 1) == i
            albedo[here] = texture(u[here], v[here])
        return unit(normal / self.half @ self.rotation.T), albedo


def _hit_quadric(o: np.ndarray, d: np.ndarray, a: float, b: float,
                 c: float) -> np.ndarray:
    """Smallest t > 0 at which a ray meets the quadric or its caps."""
    ox, oy, oz = o.T
    dx, dy, dz = d.T
    square = dx * dx + dy * dy + a * dz * dz
    square = np.where(np.abs(square) < 1e-12, 1e-12, square)
    linear = 2 * (ox * dx + oy * dy + a * oz * dz) + b * dz
    constant = ox * ox + oy * oy + a * oz * oz + b * oz + c
    discriminant = linear * linear - 4 * square * constant
    root = np.sqrt(np.maximum(discriminant, 0))
    best = np.full(len(o), np.inf)
    for sign in (-1, 1):
        t = (-linear + sign * root) / (2 * square)
        valid = (discriminant > 0) & (np.abs(oz + t * dz) <= 1)
        best = np.where(valid & (t > 1e-6) & (t < best), t, best)
        t = (sign - oz) / dz
        radius2 = -(a + sign * b + c)
        valid = (ox + t * dx)**2 + (oy + t * dy)**2 < radius2
        best = np.where(valid & (t > 1e-6) & (t < best), t, best)
    return best


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors along the last dimension to length 1."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, 1e-12)


def trace(solids: Sequence[Solid], origins: np.ndarray,
          directions: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Find the nearest hit of each ray.

    Args:
        solids (Sequence[Solid]): What the rays may meet.
        origins (np.ndarray): Where the rays start, (3, ) or (N, 3).
        directions (np.ndarray): Where they go, (N, 3).

    Returns:
        tuple[np.ndarray, np.ndarray]: For each ray its t, inf if it meets
        nothing, and the index of the solid, -1 if it meets nothing.
    """
    nearest = np.full(len(directions), np.inf)
    index = np.full(len(directions), -1)
    origins = np.broadcast_to(origins, directions.shape)
    length2 = np.einsum('ij,ij->i', directions, directions)
    along = np.einsum('ij,ij->i', origins, directions)
    from_zero = np.einsum('ij,ij->i', origins, origins)
    for i, solid in enumerate(solids):
        # Only rays that meet the sphere around the solid are worth a look.
        towards = directions @ solid.centre - along
        distance2 = (
            from_zero - 2 * (origins @ solid.centre) +
            solid.centre @ solid.centre)
        rays = np.flatnonzero(
            distance2 - towards**2 / length2 <= solid.radius**2)
        t = solid.hit(origins[rays], directions[rays])
        closer = t < nearest[rays]
        nearest[rays[closer]] = t[closer]
        index[rays[closer]] = i
    return nearest, index


def visible(solids: Sequence[Solid], points: np.ndarray,
            targets: np.ndarray) -> np.ndarray:
    """Whether nothing stands between ``points`` and ``targets``, (N, )."""
    return trace(solids, points, targets - points)[0] >= 1
