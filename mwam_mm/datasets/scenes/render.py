"""One scene from a seed."""
from dataclasses import dataclass
from typing import List

import cv2
import numpy as np

from .room import BACKGROUND, furnish, make_camera, make_room
from .sensors import (
    Hits,
    apparent_temperatures,
    look,
    measure_depth,
    photograph,
    photograph_heat,
    shade,
)

__all__ = ['Scene', 'render_scene']


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
            visible part, bool (H, W), and ``bbox`` is the box around it,
            [x, y, w, h] in pixels. The masks do not overlap and make up all
            of the image that is not background.
    """
    rgb: np.ndarray
    depth: np.ndarray
    thermal: np.ndarray
    label: np.ndarray
    instances: List[dict]


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
        seed (int): Seed that determines the scene.
        height (int): Height of all images in pixels. Defaults to 120.
        width (int): Width of all images in pixels. Defaults to 160.

    Returns:
        Scene: The images and the visible instances.
    """
    rng = np.random.default_rng(seed)
    size = rng.uniform([4, 4.5, 2.5], [5.5, 6.5, 3.2])
    camera = make_camera(rng, size)
    room = make_room(rng, size)
    solids = [room, *furnish(rng, room, camera)]

    # Each pixel gets two rays for smooth edges; the first one says what the
    # pixel "is".
    rays = [camera.rays(height, width, offset) for offset in (0, 0.5)]
    both = look(solids, camera, np.concatenate(rays))
    hits = Hits(*(value[:height * width] for value in vars(both).values()))

    light = shade(rng, solids, camera, both)
    rgb = photograph(rng, light.reshape(2, height, width, 3).mean(0))
    celsius = apparent_temperatures(rng, solids, hits).reshape(height, width)
    thermal = photograph_heat(rng, celsius)
    depth = measure_depth(rng, solids, camera, hits, (height, width))

    index = hits.index.reshape(height, width)
    label = np.array([s.category for s in solids], np.uint8)[index]
    instances = []
    for i, solid in enumerate(solids):
        mask = index == i
        if solid.category != BACKGROUND and mask.any():
            box = cv2.boundingRect(mask.astype(np.uint8))
            instances.append(
                dict(category=solid.category, mask=mask, bbox=list(box)))
    return Scene(rgb, depth, thermal, label, instances)
