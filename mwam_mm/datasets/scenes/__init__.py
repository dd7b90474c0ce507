"""The embedded RGB-D-thermal scene set: a small ray caster and its writer.

``textures``, ``solids`` and ``room`` say what a scene is made of, ``sensors``
what the cameras make of it, ``render`` gives one scene and ``files`` the set.
``clips`` makes a set of clips of it, and ``first_use`` says when a set is
written.
"""
from .files import SPLITS, ensure_scenes, write_scenes
from .render import Scene, render_scene
from .room import CLASSES, PALETTE

__all__ = [
    'CLASSES', 'PALETTE', 'SPLITS', 'Scene', 'ensure_scenes', 'render_scene',
    'write_scenes'
]
