"""The embedded RGB-D-thermal scene set: a small ray caster and its writer."""
import json
import os
import os.path as osp
import shutil
import uuid
import zlib
from colorsys import hsv_to_rgb
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import cv2
import numpy as np
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log
from mmengine.utils import track_iter_progress

__all__ = [
    'CLASSES', 'PALETTE', 'SPLITS', 'Scene', 'ensure_scenes', 'render_scene',
    'write_scenes'
]

CLASSES = ('background', 'ball', 'cone', 'crate', 'cabinet', 'heater', 'pipe',
           'poster')
PALETTE = [[90, 90, 90], [230, 60, 60], [250, 190, 40], [150, 100, 50],
           [70, 130, 220], [240, 110, 190], [80, 200, 190], [120, 200, 70]]
SPLITS = dict(train=320, val=80)

# Raise it whenever a change alters the files, so that old ones are noticed.
_VERSION = 1
_BACKGROUND, _BALL, _CONE, _CRATE, _CABINET, _HEATER, _PIPE, _POSTER = range(8)

# Degrees above the room's temperature. Classes overlap on purpose.
_WARMER = {
    _BALL: (1, 8),
    _CONE: (-7, -1),
    _CRATE: (-7, -1),
    _CABINET: (1, 8),
    _HEATER: (16, 32),
    _PIPE: (4, 14)
}
_FOCAL = 0.8  # focal length in image widths: 64 degrees across
_BASELINE = 0.1  # metres between the depth sensor's projector and camera
_DISPARITY = 307.  # steps of its disparity for a surface 1 metre away
_LEVELS_PER_DEGREE = 4  # of the thermal image, where 0 is 0 degrees Celsius


@dataclass
class Scene:
    """One rendered scene; all images are aligned pixel by pixel.

    Args:
        rgb (np.ndarray): Colour image, uint8 (H, W, 3) in R, G, B order.
        depth (np.ndarray): Distance along the optical axis in millimetres,
            uint16 (H, W). 0 where the sensor got no measurement.
        thermal (np.ndarray): Apparent temperature, uint8 (H, W): degrees
            Celsius times 4, clipped, so that 0..255 covers 0..63.75 degrees.
        label (np.ndarray): Index into :data:`CLASSES`, uint8 (H, W).
        instances (list[dict]): The objects of which anything is visible.
            ``category`` (int) indexes :data:`CLASSES`, ``mask`` is the
            visible part, bool (H, W), and ``bbox`` the box around it,
            [x, y, w, h] in pixels. The masks do not overlap and make up all
            of the image that is not background.
    """
    rgb: np.ndarray
    depth: np.ndarray
    thermal: np.ndarray
    label: np.ndarray
    instances: List[dict]


# --------------------------------------------------------------------------
# Textures: albedo as a function of surface coordinates (u, v) in metres.

_Texture = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _fraction(x: np.ndarray) -> np.ndarray:
    return x - np.floor(x)


def _per_cell(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A pseudo-random number in [0, 1) for each cell of the unit grid."""
    return _fraction(
        np.sin(np.floor(u) * 12.9898 + np.floor(v) * 78.233) * 43758.5453)


def _noise(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Smooth noise in [0, 1) that varies at the scale of the unit grid."""
    s, t = (f * f * (3 - 2 * f) for f in (_fraction(u), _fraction(v)))
    top = _per_cell(u, v) * (1 - s) + _per_cell(u + 1, v) * s
    low = _per_cell(u, v + 1) * (1 - s) + _per_cell(u + 1, v + 1) * s
    return top * (1 - t) + low * t


def _seams(u: np.ndarray, v: np.ndarray, width: float) -> np.ndarray:
    return (np.minimum(_fraction(u), _fraction(v)) < width).astype(float)


# What is mixed of the second colour into the first, by cell coordinates.
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
    clouds=_noise)


def _texture(rng: np.random.Generator, pattern: str, first: Sequence[float],
             second: Sequence[float], cell: float) -> _Texture:
    """A texture of two colours whose pattern repeats every ``cell`` metres."""
    first, second = np.asarray(first), np.asarray(second)
    shift_u, shift_v = rng.uniform(0, 50, 2)
    grain = rng.uniform(0.05, 0.3)

    def albedo(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        mix = _PATTERNS[pattern](u / cell + shift_u, v / cell + shift_v)
        mottle = 1 + grain * (_noise(u * 9 + shift_v, v * 9 + shift_u) - 0.5)
        colour = first + (second - first) * mix[:, None]
        return colour * mottle[:, None]

    return albedo


def _colour(rng: np.random.Generator, hue: Tuple[float, float],
            saturation: Tuple[float, float],
            value: Tuple[float, float]) -> np.ndarray:
    """A random colour, linear RGB in [0, 1]."""
    hsv = [rng.uniform(*limits) for limits in (hue, saturation, value)]
    return np.array(hsv_to_rgb(hsv[0] % 1, hsv[1], hsv[2]))**2.2


# --------------------------------------------------------------------------
# Geometry: every solid is a canonical shape, scaled, turned and moved.

# x^2 + y^2 + a z^2 + b z + c = 0, cut to -1 <= z <= 1 and closed by caps.
_QUADRICS = dict(
    ball=(1., 0., -1.), cylinder=(0., 0., -1.), cone=(-0.25, 0.5, -0.25))


@dataclass
class _Solid:
    """An object of the scene, or the room itself, which is seen from inside.

    ``half`` are its half extents in metres; in object coordinates, which are
    divided by them, every shape fills -1..1. The columns of ``rotation`` are
    the object's axes.
    """
    category: int
    shape: str
    centre: np.ndarray
    half: np.ndarray
    textures: List[_Texture]  # one, or one for each axis a face looks along
    temperature: float
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    shine: float = 0.
    gradient: float = 0.  # degrees from the middle to the top
    inside: bool = False

    @property
    def radius(self) -> float:
        """Of the sphere around it."""
        return float(np.linalg.norm(self.half))

    def to_object(self, vectors: np.ndarray) -> np.ndarray:
        return vectors @ self.rotation / self.half

    def hit(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Smallest t > 0 at which ``origin + t direction`` meets the solid.

        Args:
            origins (np.ndarray): In the world's coordinates, (N, 3).
            directions (np.ndarray): Not necessarily of length 1, (N, 3).

        Returns:
            np.ndarray: (N, ), inf for rays that miss.
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
            # The floor is not the ceiling.
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
        return _unit(normal / self.half @ self.rotation.T), albedo


def _hit_quadric(o: np.ndarray, d: np.ndarray, a: float, b: float,
                 c: float) -> np.ndarray:
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


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, 1e-12)


def _trace(solids: Sequence[_Solid], origins: np.ndarray,
           directions: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Nearest hit of each ray: its t (N, ) and the solid's index (N, )."""
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


def _visible(solids: Sequence[_Solid], points: np.ndarray,
             targets: np.ndarray) -> np.ndarray:
    """Whether nothing stands between ``points`` and ``targets``, (N, )."""
    return _trace(solids, points, targets - points)[0] >= 1


# --------------------------------------------------------------------------
# Scenes: what stands where.


@dataclass
class _Camera:
    position: np.ndarray
    right: np.ndarray
    down: np.ndarray
    forward: np.ndarray

    def rays(self, height: int, width: int, offset: float) -> np.ndarray:
        """Directions (H * W, 3) along which t is the depth.

        They pass ``offset`` pixels right of and below the pixels' centres.
        """
        x = np.arange(width) + offset - (width - 1) / 2
        y = np.arange(height) + offset - (height - 1) / 2
        x, y = x / (_FOCAL * width), y / (_FOCAL * width)
        return (self.forward + x[None, :, None] * self.right +
                y[:, None, None] * self.down).reshape(-1, 3)

    def sees(self, point: np.ndarray) -> bool:
        """Whether ``point`` lies well inside a 4:3 picture."""
        offset = point - self.position
        x, y, z = offset @ np.stack([self.right, self.down, self.forward], 1)
        reach = 0.45 / _FOCAL * z
        return bool(z > 1.2 and abs(x) < reach and abs(y) < 0.75 * reach)


def _turn(angle: float) -> np.ndarray:
    """Rotation about the vertical axis."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _make_camera(rng: np.random.Generator, size: np.ndarray) -> _Camera:
    """A camera near the front wall of a room of ``size``, looking in."""
    position = np.array([rng.uniform(-0.15, 0.15) * size[0], 0.3, 1.5])
    position[2] += rng.uniform(-0.4, 0.3)
    yaw = rng.uniform(-0.2, 0.2) - position[0] / size[1]
    pitch, roll = rng.uniform(0.08, 0.3), rng.normal(0, 0.02)
    forward = _turn(yaw) @ [0, np.cos(pitch), -np.sin(pitch)]
    right = _unit(np.cross(forward, [np.sin(roll), 0, np.cos(roll)]))
    return _Camera(position, right, np.cross(forward, right), forward)


def _make_room(rng: np.random.Generator, size: np.ndarray) -> _Solid:
    """The room stands on z = 0 and reaches from y = 0 to the back wall."""
    wall = _colour(rng, (0, 1), (0.05, 0.6), (0.5, 0.95))
    floor = _colour(rng, (0, 1), (0.05, 0.6), (0.4, 0.9))
    textures = []
    for _ in range(2):  # side walls, back wall
        pattern = rng.choice(
            ['plain', 'ribs', 'wallpaper', 'bricks', 'clouds'])
        other = wall * rng.uniform(0.35, 0.85)
        textures.append(
            _texture(rng, pattern, wall, other, rng.uniform(0.12, 0.5)))
    pattern = rng.choice(['checker', 'tiles', 'planks', 'mosaic', 'clouds'])
    other = floor * rng.uniform(0.35, 0.8)
    textures.append(
        _texture(rng, pattern, floor, other, rng.uniform(0.12, 0.5)))
    white = _colour(rng, (0, 1), (0, 0.08), (0.8, 0.95))
    textures.append(_texture(rng, 'plain', white, white, 1))
    return _Solid(
        _BACKGROUND,
        'box',
        size * [0, 0.5, 0.5],
        size / 2,
        textures,
        temperature=rng.uniform(17, 24),
        gradient=rng.uniform(0.3, 1.5),
        inside=True)


def _make_free_standing(rng: np.random.Generator, category: int,
                        spot: np.ndarray, ambient: float) -> _Solid:
    """A ball, cone or box-shaped thing on the floor at ``spot`` (x, y)."""
    shape, rotation = 'box', _turn(rng.uniform(0, 2 * np.pi))
    # Boxes of overlapping sizes: cabinets tend to be tall, heaters slim.
    half = rng.uniform([0.25, 0.22, 0.22], [0.42, 0.34, 0.42])
    first = _colour(rng, (0, 1), (0.05, 0.5), (0.5, 0.95))
    second = first * rng.uniform(0.3, 0.6)
    shine = rng.uniform(0, 0.5)
    if category in (_BALL, _CONE):
        # The same paint on both: they differ by their shape.
        first = _colour(rng, (0, 1), (0.3, 0.9), (0.45, 0.95))
        second = _colour(rng, (0, 1), (0.3, 0.9), (0.45, 0.95))
        pattern = rng.choice(['plain', 'stripes', 'checker'])
        cell, radius = rng.uniform([0.12, 0.2], [0.3, 0.38])
        if category == _BALL:
            shape, half = 'ball', np.full(3, radius)
            axis = _unit(rng.normal(size=3))  # a ball may have rolled
            side = _unit(np.cross(axis, [0, 0, 1]))
            rotation = np.stack([side, np.cross(axis, side), axis], 1)
        else:
            shape = 'cone'
            half = np.array([radius, radius, rng.uniform(0.3, 0.55)])
    elif category == _CRATE:
        first = _colour(rng, (0, 0.2), (0.1, 0.7), (0.4, 0.9))
        second = _colour(rng, (0, 0.2), (0.2, 0.7), (0.25, 0.5))
        pattern, cell, shine = 'planks', rng.uniform(0.1, 0.18), 0.
    elif category == _HEATER or rng.random() < 0.7:
        pattern, cell = 'ribs', rng.uniform(0.08, 0.14)
    else:
        pattern, cell = 'tiles', rng.uniform(0.3, 0.5)
    if category == _CABINET:
        half[2] = rng.uniform(0.4, 0.7)
    elif category == _HEATER:
        half[1] = rng.uniform(0.1, 0.25)
    warmer = rng.uniform(*_WARMER[category])
    return _Solid(
        category,
        shape,
        np.array([spot[0], spot[1], half[2]]),
        half, [_texture(rng, pattern, first, second, cell)],
        temperature=ambient + warmer,
        rotation=rotation,
        shine=shine,
        gradient=rng.uniform(0, 0.2) * warmer)


def _make_on_wall(rng: np.random.Generator, category: int, room: _Solid,
                  layer: int) -> _Solid:
    """A pipe or a poster on the back wall or a side wall."""
    up = np.array([0., 0., 1.])
    wall = rng.choice(['left', 'right', 'back'], p=[0.2, 0.2, 0.6])
    outward = dict(
        left=np.array([1., 0., 0.]),
        right=np.array([-1., 0., 0.]),
        back=np.array([0., -1., 0.]))[wall]
    side = np.cross(up, outward)
    across = int(np.abs(side).argmax())  # the wall's horizontal axis
    base = room.centre - outward * room.half
    base[across] += rng.uniform(-0.9, 0.9) * room.half[across]
    ambient = room.temperature
    if category == _POSTER:
        # Too flat for the depth sensor, and as warm as the wall. Where two
        # of them meet, the upper layer hides the lower one.
        half = np.array(
            [0.001 * layer, *rng.uniform([0.3, 0.25], [0.65, 0.5])])
        base[2] = rng.uniform(1, 1.9)
        paint = [_colour(rng, (0, 1), (0.3, 1), (0.4, 1)) for _ in range(2)]
        pattern = rng.choice(['mosaic', 'checker', 'stripes', 'clouds'])
        texture = _texture(rng, pattern, *paint, rng.uniform(0.12, 0.3))
        return _Solid(
            category,
            'box',
            base + outward * half[0],
            half, [texture],
            temperature=ambient,
            rotation=np.stack([outward, side, up], 1))

    radius = rng.uniform(0.09, 0.16)
    if rng.random() < 0.6:
        length, axis = room.half[2], up
    else:
        length, axis = room.half[across], np.eye(3)[across]
        base[across] = room.centre[across]
        base[2] = rng.uniform(0.2, 2)
    centre = base + outward * (radius + rng.uniform(0.02, 0.1))
    rotation = np.stack([outward, np.cross(axis, outward), axis], 1)
    wallpaper = room.textures[0 if wall != 'back' else 1]

    def papered_over(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Continue the texture of the wall behind: camouflage in RGB."""
        on_wall = (
            centre - room.centre + u[:, None] * rotation[:, 1] +
            v[:, None] * rotation[:, 2])
        return wallpaper(on_wall[:, across], on_wall[:, 2])

    return _Solid(
        category,
        'cylinder',
        centre,
        np.array([radius, radius, length]), [papered_over],
        temperature=ambient + rng.uniform(*_WARMER[_PIPE]),
        rotation=rotation)


def _furnish(rng: np.random.Generator, room: _Solid,
             camera: _Camera) -> List[_Solid]:
    """Place 4 to 8 objects, all with their middle in the camera's view.

    One that finds no place in 30 trials is left out.
    """
    objects: List[_Solid] = []
    for _ in range(rng.integers(4, 9)):
        category = int(rng.integers(_BALL, len(CLASSES)))
        for _ in range(30):
            if category in (_PIPE, _POSTER):
                new = _make_on_wall(rng, category, room, len(objects) + 1)
                if camera.sees(new.centre):
                    break
            else:
                spot = rng.uniform([-0.5, 0.3], [0.5, 1]) * 2 * room.half[:2]
                new = _make_free_standing(rng, category, spot,
                                          room.temperature)
                if camera.sees(new.centre) and _has_space(new, room, objects):
                    break
        else:
            continue
        objects.append(new)
    return objects


def _has_space(new: _Solid, room: _Solid, objects: List[_Solid]) -> bool:
    def footprint(solid: _Solid) -> float:
        return float(np.hypot(*solid.half[:2]))

    to_wall = room.half[:2] - np.abs(new.centre - room.centre)[:2]
    return min(to_wall) > footprint(new) + 0.3 and all(
        np.hypot(*(new.centre - other.centre)[:2]) >
        footprint(new) + footprint(other) for other in objects
        if other.category not in (_PIPE, _POSTER))


# --------------------------------------------------------------------------
# Sensors.


@dataclass
class _Hits:
    """What the rays of one picture meet."""
    index: np.ndarray  # of the solid, (N, )
    depth: np.ndarray  # metres, (N, )
    points: np.ndarray  # (N, 3)
    normals: np.ndarray  # (N, 3)
    albedo: np.ndarray  # linear RGB, (N, 3)
    facing: np.ndarray  # cosine between normal and viewing ray, (N, )
    shine: np.ndarray  # strength of highlights, (N, )


def _look(solids: Sequence[_Solid], camera: _Camera,
          directions: np.ndarray) -> _Hits:
    depth, index = _trace(solids, camera.position, directions)
    points = camera.position + depth[:, None] * directions
    normals, albedo = np.empty_like(points), np.empty_like(points)
    for i in np.unique(index):
        here = index == i
        normals[here], albedo[here] = solids[i].surface(points[here])
    facing = -np.einsum('ij,ij->i', normals, _unit(directions))
    shine = np.array([solid.shine for solid in solids])[index]
    return _Hits(index, depth, points + 1e-3 * normals, normals, albedo,
                 np.clip(facing, 0, 1), shine)


def _shade(rng: np.random.Generator, solids: Sequence[_Solid],
           camera: _Camera, hits: _Hits) -> np.ndarray:
    """Light that each ray brings back, linear RGB (N, 3)."""
    room = solids[0]
    place = rng.uniform([-0.6, -0.7, 0.6], [0.6, 0.4, 0.9])
    warmth = rng.uniform(-0.15, 0.25)
    colour = np.array([1 + warmth, 1, 1 - warmth])
    # A lamp of some size: each ray aims at another part of it.
    lamp = room.centre + place * room.half
    lamp = lamp + rng.uniform(-0.15, 0.15, hits.points.shape)
    to_lamp = lamp - hits.points
    distance2 = np.einsum('ij,ij->i', to_lamp, to_lamp)
    to_lamp = to_lamp / np.sqrt(distance2)[:, None]
    diffuse = np.einsum('ij,ij->i', hits.normals, to_lamp)
    lit = np.flatnonzero(diffuse > 0)
    direct = np.zeros(len(diffuse))
    direct[lit] = _visible(solids[1:], hits.points[lit], lamp[lit])
    direct *= np.maximum(diffuse, 0) / (0.3 + 0.12 * distance2)
    halfway = _unit(to_lamp + _unit(camera.position - hits.points))
    highlight = np.einsum('ij,ij->i', hits.normals, halfway)
    specular = hits.shine * np.maximum(highlight, 0)**40 * (direct > 0)
    # Ambient light is weaker in corners and near other things.
    ambient = np.full(len(direct), rng.uniform(0.2, 0.45))
    for axis, sign in ((0, -1), (0, 1), (1, 1), (2, -1), (2, 1)):
        inward = -sign * hits.normals[:, axis]
        gap = room.half[axis] - sign * (hits.points - room.centre)[:, axis]
        ambient *= 1 - 0.4 * np.exp(-gap / 0.25) * (1 - np.clip(inward, 0, 1))
    from_zero = np.einsum('ij,ij->i', hits.points, hits.points)
    along = np.einsum('ij,ij->i', hits.points, hits.normals)
    for i, solid in enumerate(solids):
        if solid.category not in (_BACKGROUND, _PIPE, _POSTER):
            centre, size = solid.centre, 0.7 * solid.radius
            gap2 = from_zero - 2 * (hits.points @ centre) + centre @ centre
            above = np.maximum(hits.normals @ centre - along, 0)
            hidden = above / np.sqrt(gap2) * np.minimum(1, size**2 / gap2)
            ambient *= 1 - 0.7 * hidden * (hits.index != i)
    light = hits.albedo * (ambient[:, None] + direct[:, None] * colour)
    return light + specular[:, None] * colour


def _photograph(rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
    """8-bit image (H, W, 3) of linear light, with sensor noise."""
    exposure = rng.uniform(0.15, 0.7) / np.quantile(light, 0.9)
    image = 255 * np.clip(exposure * light, 0, 1)**(1 / 2.2)
    image += rng.normal(0, rng.uniform(2, 6), image.shape)
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def _measure_depth(rng: np.random.Generator, solids: Sequence[_Solid],
                   camera: _Camera, hits: _Hits,
                   shape: Tuple[int, int]) -> np.ndarray:
    """What a structured-light sensor reports, uint16 millimetres.

    It measures disparity, in steps: noise and steps grow with the squared
    depth. There is no measurement where its projector does not reach, on
    grazing, dark or mirroring surfaces, and in a few blots.
    """
    # In steps of the sensor, whose resolution is not that of the image.
    disparity = _DISPARITY / hits.depth.reshape(shape)
    disparity = np.round(disparity + rng.normal(0, 0.6, shape))
    depth = _DISPARITY / disparity

    projector = camera.position + _BASELINE * camera.right
    projector = np.broadcast_to(projector, hits.points.shape)
    reached = _visible(solids[1:], hits.points, projector)
    returned = hits.albedo.mean(1) * hits.facing
    returned = returned * rng.uniform(0.6, 1.4, len(returned))
    mirrored = hits.shine * hits.facing**60 > 0.35
    reached &= (returned > 0.012) & ~mirrored
    reached &= hits.facing > rng.uniform(0.05, 0.2, len(returned))
    reached = reached.reshape(shape)

    scale = 16 / shape[1]
    x, y = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
    shift = rng.uniform(0, 1000, 2)
    blots = _noise(x * scale + shift[0], y * scale + shift[1]) > 0.965
    kernel = np.ones((3, 3), np.uint8)
    edge = cv2.morphologyEx(depth, cv2.MORPH_GRADIENT, kernel) > 0.4
    lost = blots | (edge & (rng.random(shape) < 0.35))
    millimetres = np.round(1000 * depth)
    return np.where(reached & ~lost, millimetres, 0).astype(np.uint16)


def _temperatures(rng: np.random.Generator, solids: Sequence[_Solid],
                  hits: _Hits) -> np.ndarray:
    """Apparent temperature in degrees Celsius of each ray, (N, )."""
    room = solids[0]
    height = (hits.points[:, 2] - room.centre[2]) / room.half[2]
    shift = rng.uniform(0, 1000, 2)
    patches = _noise(hits.points[:, 0] + hits.points[:, 1] + shift[0],
                     hits.points[:, 2] + hits.points[:, 1] + shift[1])
    true = room.temperature + room.gradient * height + 2 * (patches - 0.5)
    for heater in (s for s in solids if s.category == _HEATER):
        gap = (hits.points - heater.centre) / (heater.half + 0.15)
        true += 5 * np.exp(-np.einsum('ij,ij->i', gap, gap))
    for i, solid in enumerate(solids):
        if solid.category not in (_BACKGROUND, _POSTER):
            here = hits.index == i
            z = solid.to_object(hits.points[here] - solid.centre)[:, 2]
            true[here] = (
                solid.temperature + solid.gradient * z + patches[here])
    # Surfaces seen at a slant mirror the room.
    emissivity = 0.95 * (1 - 0.5 * (1 - hits.facing)**4)
    return emissivity * true + (1 - emissivity) * room.temperature


def _photograph_heat(rng: np.random.Generator,
                     celsius: np.ndarray) -> np.ndarray:
    """8-bit image (H, W) of temperatures, with blur and noise."""
    image = cv2.GaussianBlur(celsius, (0, 0), 0.006 * celsius.shape[1])
    image += rng.normal(0, 0.25, image.shape)
    image += rng.normal(0, 0.15, (1, image.shape[1]))  # of the columns
    image = np.round(image * _LEVELS_PER_DEGREE)
    return np.clip(image, 0, 255).astype(np.uint8)


def render_scene(seed: int, height: int = 120, width: int = 160) -> Scene:
    """Render one scene.

    A room with floor, ceiling and walls holds up to 8 objects of the classes
    :data:`CLASSES`, some in front of others. What tells them apart:

    ======= ========================== ============== ====================
    class   RGB                        depth          thermal
    ======= ========================== ============== ====================
    ball    any paint, round           round          like a cabinet
    cone    the same paints, pointed   pointed        like a crate
    crate   planks                     a box          cooler than the room
    cabinet ribs or doors              a tall box     a little warmer
    heater  ribs                       a slim box     hot
    pipe    papered like the wall      in relief      warm
    poster  a picture                  unseen         unseen
    ======= ========================== ============== ====================

    Args:
        seed (int): The scene is a function of it.
        height (int): Of all images, in pixels. Defaults to 120.
        width (int): Likewise. Defaults to 160.

    Returns:
        Scene: The images and the visible instances.
    """
    rng = np.random.default_rng(seed)
    size = rng.uniform([4, 4.5, 2.5], [5.5, 6.5, 3.2])
    camera = _make_camera(rng, size)
    room = _make_room(rng, size)
    solids = [room, *_furnish(rng, room, camera)]

    # Two rays a pixel for smooth edges; the first one is what a pixel "is".
    rays = [camera.rays(height, width, offset) for offset in (0, 0.5)]
    both = _look(solids, camera, np.concatenate(rays))
    hits = _Hits(*(value[:height * width] for value in vars(both).values()))

    light = _shade(rng, solids, camera, both)
    rgb = _photograph(rng, light.reshape(2, height, width, 3).mean(0))
    celsius = _temperatures(rng, solids, hits).reshape(height, width)
    thermal = _photograph_heat(rng, celsius)
    depth = _measure_depth(rng, solids, camera, hits, (height, width))

    index = hits.index.reshape(height, width)
    label = np.array([s.category for s in solids], np.uint8)[index]
    instances = []
    for i, solid in enumerate(solids):
        mask = index == i
        if solid.category != _BACKGROUND and mask.any():
            box = cv2.boundingRect(mask.astype(np.uint8))
            instances.append(
                dict(category=solid.category, mask=mask, bbox=list(box)))
    return Scene(rgb, depth, thermal, label, instances)


# --------------------------------------------------------------------------
# Files.


def _run_lengths(mask: np.ndarray) -> dict:
    """COCO's uncompressed run-length encoding of ``mask`` (H, W)."""
    flat = np.concatenate([[False], mask.ravel(order='F')])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return dict(size=list(mask.shape), counts=counts.tolist())


def _scene_seed(seed: int, split: str, index: int) -> int:
    # The name rather than the position: a new split leaves the others alone.
    sequence = np.random.SeedSequence(
        [seed, zlib.crc32(split.encode()), index])
    return int(sequence.generate_state(1)[0])


def _save_png(path: str, image: np.ndarray) -> None:
    os.makedirs(osp.dirname(path), exist_ok=True)
    if not cv2.imwrite(path, image):
        raise OSError(f'could not write {path}')


def _save_json(path: str, content: dict) -> None:
    os.makedirs(osp.dirname(path), exist_ok=True)
    with open(path, 'w') as f:
        json.dump(content, f)


def write_scenes(data_root: str,
                 splits: Mapping[str, int] = SPLITS,
                 seed: int = 0,
                 height: int = 120,
                 width: int = 160) -> None:
    """Render the scene set into files::

        data_root
        ├── rgb/{split}/000000.png       8 bit, colour
        ├── depth/{split}/000000.png     16 bit, millimetres, 0 is invalid
        ├── thermal/{split}/000000.png   8 bit, degrees Celsius times 4
        ├── label/{split}/000000.png     8 bit, index into the classes
        ├── annotations/{split}.json     COCO boxes and instance masks
        └── scenes.json                  the settings of this set

    They are rendered beside ``data_root`` and moved there when complete.
    The same arguments give the same files.

    Args:
        data_root (str): The folder to make. It must not exist or be empty.
        splits (Mapping[str, int]): Number of scenes of each split. Defaults
            to 320 for ``train`` and 80 for ``val``.
        seed (int): Of the whole set. Defaults to 0.
        height (int): Of the images, in pixels. Defaults to 120.
        width (int): Likewise. Defaults to 160.

    Raises:
        FileExistsError: If there is something at ``data_root``.
    """
    root = osp.realpath(data_root)
    if osp.exists(root) and not (osp.isdir(root) and not os.listdir(root)):
        raise FileExistsError(
            f'{data_root} exists: delete it, or write the scene set elsewhere')
    partial = f'{root}.{uuid.uuid4().hex[:8]}.partial'
    print_log(
        f'Rendering {sum(splits.values())} scenes into {data_root}, '
        'this once',
        logger='current')
    try:
        _write_files(partial, splits, seed, height, width)
        try:
            os.replace(partial, root)
        except OSError:
            # Another job may have written the same set in the meantime.
            if not _found(root, _settings(splits, seed, height, width)):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_files(root: str, splits: Mapping[str, int], seed: int, height: int,
                 width: int) -> None:
    coco: Dict[str, dict] = {
        split: dict(
            images=[],
            annotations=[],
            categories=[
                dict(id=i, name=name) for i, name in enumerate(CLASSES) if i
            ])
        for split in splits
    }
    tasks = [(split, i) for split, n in splits.items() for i in range(n)]
    for split, i in track_iter_progress(tasks):
        scene = render_scene(_scene_seed(seed, split, i), height, width)
        images = dict(
            rgb=scene.rgb[..., ::-1],
            depth=scene.depth,
            thermal=scene.thermal,
            label=scene.label)
        paths = {kind: f'{kind}/{split}/{i:06d}.png' for kind in images}
        for kind, image in images.items():
            _save_png(osp.join(root, paths[kind]), image)
        coco[split]['images'].append(
            dict(
                id=i,
                width=width,
                height=height,
                file_name=paths['rgb'],
                depth_path=paths['depth'],
                thermal_path=paths['thermal'],
                seg_map_path=paths['label']))
        annotations = coco[split]['annotations']
        for instance in scene.instances:
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=i,
                    category_id=instance['category'],
                    bbox=instance['bbox'],
                    area=int(instance['mask'].sum()),
                    segmentation=_run_lengths(instance['mask']),
                    iscrowd=0))
    for split, content in coco.items():
        _save_json(osp.join(root, 'annotations', f'{split}.json'), content)
    _save_json(
        osp.join(root, 'scenes.json'), _settings(splits, seed, height, width))


def _settings(splits: Mapping[str, int], seed: int, height: int,
              width: int) -> dict:
    return dict(
        version=_VERSION,
        seed=seed,
        height=height,
        width=width,
        splits=dict(splits))


def _found(data_root: str, wanted: dict) -> bool:
    """Whether the wanted set is there; an error if it is another one."""
    if not osp.isdir(data_root) or not os.listdir(data_root):
        return False
    path = osp.join(data_root, 'scenes.json')
    if not osp.isfile(path):
        raise FileExistsError(
            f'{data_root} holds something other than the scene set (there is '
            'no scenes.json in it). Give another data_root, or move it away')
    with open(path) as f:
        there = json.load(f)
    if there != wanted:
        differing = [
            f'{key}={there.get(key)!r} where {value!r} is wanted'
            for key, value in wanted.items() if there.get(key) != value
        ]
        raise RuntimeError(
            f'{data_root} holds another scene set: {", ".join(differing)}. '
            'Delete the folder to have it written anew, or give another '
            'data_root')
    return True


def ensure_scenes(data_root: str,
                  splits: Mapping[str, int] = SPLITS,
                  seed: int = 0,
                  height: int = 120,
                  width: int = 160) -> None:
    """Write the scene set unless it is there already.

    In distributed runs rank 0 writes and the others wait, so every rank has
    to call it.

    Args:
        data_root (str): See :func:`write_scenes`, as for the other arguments.

    Raises:
        FileExistsError: If the folder holds something else.
        RuntimeError: If it holds a scene set of other settings or of another
            version, or if rank 0 failed to write it.
    """
    wanted = _settings(splits, seed, height, width)
    error: Optional[Exception] = None
    if is_main_process():
        try:
            if not _found(data_root, wanted):
                write_scenes(data_root, splits, seed, height, width)
        except Exception as e:
            error = e
    # Telling the outcome is the barrier: nobody waits for a dead writer.
    outcome = [None if error is None else str(error)]
    broadcast_object_list(outcome)
    if error is not None:
        raise error
    if outcome[0] is not None:
        raise RuntimeError(f'rank 0 could not provide scenes: {outcome[0]}')
    if not _found(data_root, wanted):
        raise FileNotFoundError(
            f'rank 0 wrote {data_root}, but this rank does not see it: put '
            'data_root on a file system that all nodes share')
