"""The files of the scene set."""
import json
import os
import os.path as osp
import shutil
import uuid
import zlib
from typing import Dict, Mapping, Optional

import cv2
import numpy as np
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log
from mmengine.utils import track_iter_progress

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
    """Whether the wanted set is there; another set is an error."""
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


def provide_scenes(data_root: str,
                   splits: Mapping[str, int] = SPLITS,
                   seed: int = 0,
                   height: int = 120,
                   width: int = 160) -> None:
    """Write the scene set unless it is there, for one process alone.

    Args:
        data_root (str): Folder of the scene set.
        splits (Mapping[str, int]): See :func:`write_scenes`.
        seed (int): Likewise.
        height (int): Likewise.
        width (int): Likewise.
    """
    if not _found(data_root, _settings(splits, seed, height, width)):
        write_scenes(data_root, splits, seed, height, width)


def ensure_scenes(data_root: str,
                  splits: Mapping[str, int] = SPLITS,
                  seed: int = 0,
                  height: int = 120,
                  width: int = 160) -> None:
    """Write the scene set unless it is there already.

    In distributed runs rank 0 writes and the others wait, so every rank has
    to call it.

    Args:
        data_root (str): Folder of the scene set.
        splits (Mapping[str, int]): See :func:`write_scenes`.
        seed (int): Likewise.
        height (int): Likewise.
        width (int): Likewise.

    Raises:
        FileExistsError: If the folder holds something else.
        RuntimeError: If it holds a scene set of other settings or of another
            version, or if rank 0 failed to write it.
    """
    wanted = _settings(splits, seed, height, width)
    error: Optional[Exception] = None
    if is_main_process():
        try:
            provide_scenes(data_root, splits, seed, height, width)
        except Exception as e:
            error = e
    # The broadcast of the outcome is also the barrier, so that no rank waits
    # for a writer that died.
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
