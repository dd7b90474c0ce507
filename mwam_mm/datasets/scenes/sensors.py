"""What the colour, depth and thermal cameras make of a scene."""
from dataclasses import dataclass
from typing import Sequence, Tuple

import cv2
import numpy as np

from .room import BACKGROUND, HEATER, PIPE, POSTER, Camera
from .solids import Solid, trace, unit, visible
from .textures import noise

__all__ = [
    'Hits', 'apparent_temperatures', 'look', 'measure_depth', 'photograph',
    'photograph_heat', 'shade'
]

_BASELINE = 0.1  # metres between the depth sensor's projector and camera
_DISPARITY = 307.  # steps of its disparity for a surface 1 metre away
_LEVELS_PER_DEGREE = 4  # of the thermal image, where 0 is 0 degrees Celsius


@dataclass
class Hits:
    """What the rays of one picture meet."""
    index: np.ndarray  # index of the solid, (N, )
    depth: np.ndarray  # depth in metres, (N, )
    points: np.ndarray  # where it is hit, in metres, (N, 3)
    normals: np.ndarray  # unit normals there, (N, 3)
    albedo: np.ndarray  # linear RGB, (N, 3)
    facing: np.ndarray  # cosine between normal and viewing ray, (N, )
    shine: np.ndarray  # strength of highlights, (N, )


def look(solids: Sequence[Solid], camera: Camera,
         directions: np.ndarray) -> Hits:
    """What the camera's rays (N, 3) meet."""
    depth, index = trace(solids, camera.position, directions)
    points = camera.position + depth[:, None] * directions
    normals, albedo = np.empty_like(points), np.empty_like(points)
    for i in np.unique(index):
        here = index == i
        normals[here], albedo[here] = solids[i].surface(points[here])
    facing = -np.einsum('ij,ij->i', normals, unit(directions))
    shine = np.array([solid.shine for solid in solids])[index]
    return Hits(index, depth, points + 1e-3 * normals, normals, albedo,
                 np.clip(facing, 0, 1), shine)


def shade(rng: np.random.Generator, solids: Sequence[Solid],
          camera: Camera, hits: Hits) -> np.ndarray:
    """Light that each ray brings back, linear RGB (N, 3)."""
    room = solids[0]
    place = rng.uniform([-0.6, -0.7, 0.6], [0.6, 0.4, 0.9])
    warmth = rng.uniform(-0.15, 0.25)
    colour = np.array([1 + warmth, 1, 1 - warmth])
    # The lamp has a size, so each ray aims at another part of it.
    lamp = room.centre + place * room.half
    lamp = lamp + rng.uniform(-0.15, 0.15, hits.points.shape)
    to_lamp = lamp - hits.points
    distance2 = np.einsum('ij,ij->i', to_lamp, to_lamp)
    to_lamp = to_lamp / np.sqrt(distance2)[:, None]
    diffuse = np.einsum('ij,ij->i', hits.normals, to_lamp)
    lit = np.flatnonzero(diffuse > 0)
    direct = np.zeros(len(diffuse))
    direct[lit] = visible(solids[1:], hits.points[lit], lamp[lit])
    direct *= np.maximum(diffuse, 0) / (0.3 + 0.12 * distance2)
    halfway = unit(to_lamp + unit(camera.position - hits.points))
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
        if solid.category not in (BACKGROUND, PIPE, POSTER):
            centre, size = solid.centre, 0.7 * solid.radius
            gap2 = from_zero - 2 * (hits.points @ centre) + centre @ centre
            above = np.maximum(hits.normals @ centre - along, 0)
            hidden = above / np.sqrt(gap2) * np.minimum(1, size**2 / gap2)
            ambient *= 1 - 0.7 * hidden * (hits.index != i)
    light = hits.albedo * (ambient[:, None] + direct[:, None] * colour)
    return light + specular[:, None] * colour


def photograph(rng: np.random.Generator, light: np.ndarray) -> np.ndarray:
    """8-bit image (H, W, 3) of linear light, with sensor noise."""
    exposure = rng.uniform(0.15, 0.7) / np.quantile(light, 0.9)
    image = 255 * np.clip(exposure * light, 0, 1)**(1 / 2.2)
    image += rng.normal(0, rng.uniform(2, 6), image.shape)
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def measure_depth(rng: np.random.Generator, solids: Sequence[Solid],
                  camera: Camera, hits: Hits,
                  shape: Tuple[int, int]) -> np.ndarray:
    """What a structured-light sensor reports, uint16 millimetres.

    It measures disparity, in steps: noise and steps grow with the squared
    depth. There is no measurement where its projector does not reach, on
    grazing, dark or mirroring surfaces, and in a few blots.
    """
    # The disparity is in steps of the sensor, whose resolution is not that of
    # the image.
    disparity = _DISPARITY / hits.depth.reshape(shape)
    disparity = np.round(disparity + rng.normal(0, 0.6, shape))
    depth = _DISPARITY / disparity

    projector = camera.position + _BASELINE * camera.right
    projector = np.broadcast_to(projector, hits.points.shape)
    reached = visible(solids[1:], hits.points, projector)
    returned = hits.albedo.mean(1) * hits.facing
    returned = returned * rng.uniform(0.6, 1.4, len(returned))
    mirrored = hits.shine * hits.facing**60 > 0.35
    reached &= (returned > 0.012) & ~mirrored
    reached &= hits.facing > rng.uniform(0.05, 0.2, len(returned))
    reached = reached.reshape(shape)

    scale = 16 / shape[1]
    x, y = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
    shift = rng.uniform(0, 1000, 2)
    blots = noise(x * scale + shift[0], y * scale + shift[1]) > 0.965
    kernel = np.ones((3, 3), np.uint8)
    edge = cv2.morphologyEx(depth, cv2.MORPH_GRADIENT, kernel) > 0.4
    lost = blots | (edge & (rng.random(shape) < 0.35))
    millimetres = np.round(1000 * depth)
    return np.where(reached & ~lost, millimetres, 0).astype(np.uint16)


def apparent_temperatures(rng: np.random.Generator, solids: Sequence[Solid],
                          hits: Hits) -> np.ndarray:
    """Apparent temperature in degrees Celsius of each ray, (N, )."""
    room = solids[0]
    height = (hits.points[:, 2] - room.centre[2]) / room.half[2]
    shift = rng.uniform(0, 1000, 2)
    patches = noise(hits.points[:, 0] + hits.points[:, 1] + shift[0],
                     hits.points[:, 2] + hits.points[:, 1] + shift[1])
    true = room.temperature + room.gradient * height + 2 * (patches - 0.5)
    for heater in (s for s in solids if s.category == HEATER):
        gap = (hits.points - heater.centre) / (heater.half + 0.15)
        true += 5 * np.exp(-np.einsum('ij,ij->i', gap, gap))
    for i, solid in enumerate(solids):
        if solid.category not in (BACKGROUND, POSTER):
            here = hits.index == i
            z = solid.to_object(hits.points[here] - solid.centre)[:, 2]
            true[here] = (
                solid.temperature + solid.gradient * z + patches[here])
    # Surfaces seen at a slant mirror the room.
    emissivity = 0.95 * (1 - 0.5 * (1 - hits.facing)**4)
    return emissivity * true + (1 - emissivity) * room.temperature


def photograph_heat(rng: np.random.Generator,
                    celsius: np.ndarray) -> np.ndarray:
    """8-bit image (H, W) of temperatures, with blur and noise."""
    image = cv2.GaussianBlur(celsius, (0, 0), 0.006 * celsius.shape[1])
    image += rng.normal(0, 0.25, image.shape)
    image += rng.normal(0, 0.15, (1, image.shape[1]))  # column noise
    image = np.round(image * _LEVELS_PER_DEGREE)
    return np.clip(image, 0, 255).astype(np.uint8)
