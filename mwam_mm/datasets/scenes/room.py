"""Where the camera and the objects of a scene stand, and what they are."""
from dataclasses import dataclass
from typing import List

import numpy as np

from .solids import Solid, unit
from .textures import make_texture, random_colour

__all__ = [
    'BACKGROUND', 'BALL', 'CABINET', 'CLASSES', 'CONE', 'CRATE', 'HEATER',
    'PALETTE', 'PIPE', 'POSTER', 'Camera', 'furnish', 'make_camera',
    'make_room'
]

CLASSES = ('background', 'ball', 'cone', 'crate', 'cabinet', 'heater', 'pipe',
           'poster')
PALETTE = [[90, 90, 90], [230, 60, 60], [250, 190, 40], [150, 100, 50],
           [70, 130, 220], [240, 110, 190], [80, 200, 190], [120, 200, 70]]
BACKGROUND, BALL, CONE, CRATE, CABINET, HEATER, PIPE, POSTER = range(8)

# Degrees above the room's temperature. The classes overlap on purpose.
_WARMER = {
    BALL: (1, 8),
    CONE: (-7, -1),
    CRATE: (-7, -1),
    CABINET: (1, 8),
    HEATER: (16, 32),
    PIPE: (4, 14)
}
_FOCAL = 0.8  # focal length in image widths: 64 degrees across


@dataclass
class Camera:
    """A pinhole camera: its position in metres and its unit axes."""
    position: np.ndarray
    right: np.ndarray
    down: np.ndarray
    forward: np.ndarray

    def rays(self, height: int, width: int, offset: float) -> np.ndarray:
        """Directions (H * W, 3) of the rays, scaled so that t is the depth.

        The rays pass ``offset`` pixels right of and below the pixels' centres.
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


def make_camera(rng: np.random.Generator, size: np.ndarray) -> Camera:
    """A camera near the front wall of a room of ``size``, looking in."""
    position = np.array([rng.uniform(-0.15, 0.15) * size[0], 0.3, 1.5])
    position[2] += rng.uniform(-0.4, 0.3)
    yaw = rng.uniform(-0.2, 0.2) - position[0] / size[1]
    pitch, roll = rng.uniform(0.08, 0.3), rng.normal(0, 0.02)
    forward = _turn(yaw) @ [0, np.cos(pitch), -np.sin(pitch)]
    right = unit(np.cross(forward, [np.sin(roll), 0, np.cos(roll)]))
    return Camera(position, right, np.cross(forward, right), forward)


def make_room(rng: np.random.Generator, size: np.ndarray) -> Solid:
    """The room, which stands on z = 0 and reaches from y = 0 to the back."""
    wall = random_colour(rng, (0, 1), (0.05, 0.6), (0.5, 0.95))
    floor = random_colour(rng, (0, 1), (0.05, 0.6), (0.4, 0.9))
    textures = []
    for _ in range(2):  # side walls, back wall
        pattern = rng.choice(
            ['plain', 'ribs', 'wallpaper', 'bricks', 'clouds'])
        other = wall * rng.uniform(0.35, 0.85)
        textures.append(
            make_texture(rng, pattern, wall, other, rng.uniform(0.12, 0.5)))
    pattern = rng.choice(['checker', 'tiles', 'planks', 'mosaic', 'clouds'])
    other = floor * rng.uniform(0.35, 0.8)
    textures.append(
        make_texture(rng, pattern, floor, other, rng.uniform(0.12, 0.5)))
    white = random_colour(rng, (0, 1), (0, 0.08), (0.8, 0.95))
    textures.append(make_texture(rng, 'plain', white, white, 1))
    return Solid(
        BACKGROUND,
        'box',
        size * [0, 0.5, 0.5],
        size / 2,
        textures,
        temperature=rng.uniform(17, 24),
        gradient=rng.uniform(0.3, 1.5),
        inside=True)


def _make_free_standing(rng: np.random.Generator, category: int,
                        spot: np.ndarray, ambient: float) -> Solid:
    """A ball, cone or box-shaped thing on the floor at ``spot`` (x, y)."""
    shape, rotation = 'box', _turn(rng.uniform(0, 2 * np.pi))
    # The sizes of boxes overlap: cabinets tend to be tall, heaters slim.
    half = rng.uniform([0.25, 0.22, 0.22], [0.42, 0.34, 0.42])
    first = random_colour(rng, (0, 1), (0.05, 0.5), (0.5, 0.95))
    second = first * rng.uniform(0.3, 0.6)
    shine = rng.uniform(0, 0.5)
    if category in (BALL, CONE):
        # Balls and cones get the same paints, so that only their shape tells
        # them apart.
        first = random_colour(rng, (0, 1), (0.3, 0.9), (0.45, 0.95))
        second = random_colour(rng, (0, 1), (0.3, 0.9), (0.45, 0.95))
        pattern = rng.choice(['plain', 'stripes', 'checker'])
        cell, radius = rng.uniform([0.12, 0.2], [0.3, 0.38])
        if category == BALL:
            shape, half = 'ball', np.full(3, radius)
            axis = unit(rng.normal(size=3))  # a ball may have rolled
            side = unit(np.cross(axis, [0, 0, 1]))
            rotation = np.stack([side, np.cross(axis, side), axis], 1)
        else:
            shape = 'cone'
            half = np.array([radius, radius, rng.uniform(0.3, 0.55)])
    elif category == CRATE:
        first = random_colour(rng, (0, 0.2), (0.1, 0.7), (0.4, 0.9))
        second = random_colour(rng, (0, 0.2), (0.2, 0.7), (0.25, 0.5))
        pattern, cell, shine = 'planks', rng.uniform(0.1, 0.18), 0.
    elif category == HEATER or rng.random() < 0.7:
        pattern, cell = 'ribs', rng.uniform(0.08, 0.14)
    else:
        pattern, cell = 'tiles', rng.uniform(0.3, 0.5)
    if category == CABINET:
        half[2] = rng.uniform(0.4, 0.7)
    elif category == HEATER:
        half[1] = rng.uniform(0.1, 0.25)
    warmer = rng.uniform(*_WARMER[category])
    return Solid(
        category,
        shape,
        np.array([spot[0], spot[1], half[2]]),
        half, [make_texture(rng, pattern, first, second, cell)],
        temperature=ambient + warmer,
        rotation=rotation,
        shine=shine,
        gradient=rng.uniform(0, 0.2) * warmer)


def _make_on_wall(rng: np.random.Generator, category: int, room: Solid,
                  layer: int) -> Solid:
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
    if category == POSTER:
        # A poster is too flat for the depth sensor and as warm as the wall.
        # Where two of them meet, the upper layer hides the lower one.
        half = np.array(
            [0.001 * layer, *rng.uniform([0.3, 0.25], [0.65, 0.5])])
        base[2] = rng.uniform(1, 1.9)
        paint = [
            random_colour(rng, (0, 1), (0.3, 1), (0.4, 1)) for _ in range(2)
        ]
        pattern = rng.choice(['mosaic', 'checker', 'stripes', 'clouds'])
        texture = make_texture(rng, pattern, *paint, rng.uniform(0.12, 0.3))
        return Solid(
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

    return Solid(
        category,
        'cylinder',
        centre,
        np.array([radius, radius, length]), [papered_over],
        temperature=ambient + rng.uniform(*_WARMER[PIPE]),
        rotation=rotation)


def furnish(rng: np.random.Generator, room: Solid,
            camera: Camera) -> List[Solid]:
    """Place 4 to 8 objects, all with their middle in the camera's view.

    An object that finds no place in 30 trials is left out.
    """
    objects: List[Solid] = []
    for _ in range(rng.integers(4, 9)):
        category = int(rng.integers(BALL, len(CLASSES)))
        for _ in range(30):
            if category in (PIPE, POSTER):
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


def _has_space(new: Solid, room: Solid, objects: List[Solid]) -> bool:
    """Whether a new object touches no wall and no other object."""

    def footprint(solid: Solid) -> float:
        return float(np.hypot(*solid.half[:2]))

    to_wall = room.half[:2] - np.abs(new.centre - room.centre)[:2]
    return min(to_wall) > footprint(new) + 0.3 and all(
        np.hypot(*(new.centre - other.centre)[:2]) >
        footprint(new) + footprint(other) for other in objects
        if other.category not in (PIPE, POSTER))
