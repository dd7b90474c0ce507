"""The files of the scene set."""
import os.path as osp
import zlib
from typing import Dict, Mapping

import numpy as np
from mmengine.logging import print_log
from mmengine.utils import track_iter_progress

from mwam_mm.atomic import new_tree, write_json

from ..image_files import write_image
from .first_use import ensure, provide
from .render import render_scene
from .room import CLASSES

__all__ = ['SPLITS', 'ensure_scenes', 'provide_scenes', 'write_scenes']

SPLITS = dict(train=320, val=80)

# Raise it whenever a change alters the files, so that old ones are noticed.
_VERSION = 1


def _run_lengths(mask: np.ndarray) -> dict:
    """COCO's uncompressed run-length encoding of ``mask`` (H, W)."""
    flat = np.concatenate([[False], mask.ravel(order='F')])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return dict(size=list(mask.shape), counts=counts.tolist())


def _scene_seed(seed: int, split: str, index: int) -> int:
    # The name of the split enters rather than its position, so that a new
    # split leaves the others alone.
    sequence = np.random.SeedSequence(
        [seed, zlib.crc32(split.encode()), index])
    return int(sequence.generate_state(1)[0])


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

    The files are written beside ``data_root`` and moved there when complete.
    The same arguments give the same files.

    Args:
        data_root (str): The folder to make. It must not exist or be empty.
        splits (Mapping[str, int]): Number of scenes of each split. Defaults
            to 320 for ``train`` and 80 for ``val``.
        seed (int): Seed of the whole set. Defaults to 0.
        height (int): Height of the images in pixels. Defaults to 120.
        width (int): Width of the images in pixels. Defaults to 160.

    Raises:
        FileExistsError: If there is something at ``data_root``.
    """
    with new_tree(data_root) as root:
        print_log(
            f'Rendering {sum(splits.values())} scenes into {data_root}, '
            'this once',
            logger='current')
        _write_files(root, splits, seed, height, width)


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
            write_image(osp.join(root, paths[kind]), image)
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
        write_json(osp.join(root, 'annotations', f'{split}.json'), content)
    write_json(
        osp.join(root, 'scenes.json'), _settings(splits, seed, height, width))


def _settings(splits: Mapping[str, int] = SPLITS,
              seed: int = 0,
              height: int = 120,
              width: int = 160) -> dict:
    return dict(
        version=_VERSION,
        seed=seed,
        height=height,
        width=width,
        splits=dict(splits))


def provide_scenes(data_root: str, **settings) -> None:
    """Write the scene set unless it is there, for one process alone.

    Args:
        data_root (str): Folder of the scene set.
        **settings: Further arguments of :func:`write_scenes`.
    """
    provide(data_root, 'scenes.json', _settings(**settings),
            lambda: write_scenes(data_root, **settings))


def ensure_scenes(data_root: str, **settings) -> None:
    """Write the scene set unless it is there already, see :func:`ensure`.

    Args:
        data_root (str): Folder of the scene set.
        **settings: Further arguments of :func:`write_scenes`.

    Raises:
        FileExistsError: If the folder holds something else.
        RuntimeError: If it holds a scene set of other settings or of another
            version, or if rank 0 failed to write it.
    """
    ensure(data_root, 'scenes.json', _settings(**settings),
           lambda: write_scenes(data_root, **settings))
