"""Small clips: objects of the scene set pass before another scene."""
import json
import os
import os.path as osp
from typing import Dict, List, Mapping, Tuple

import cv2
import numpy as np
from mmengine.logging import print_log
from mmengine.utils import track_iter_progress

from mwam_mm.atomic import new_tree, write_json

from ..image_files import write_image
from ..optical_flow import encode_flow, optical_flow
from .files import provide_scenes
from .first_use import ensure
from .room import BALL, CABINET, CLASSES, CRATE, POSTER

__all__ = ['CLIP_CLASSES', 'CLIP_SPLITS', 'ensure_clips', 'write_clips']

CLIP_CLASSES = ('ball', 'crate', 'poster', 'cabinet_to_the_right',
                'cabinet_to_the_left')
CLIP_SPLITS = dict(train=400, val=100)
# Category of the object, and where it moves along its axis: to the right or
# left. 0 is up or down.
_KINDS = ((BALL, 0), (CRATE, 0), (POSTER, 0), (CABINET, 1), (CABINET, -1))
_SIZE = 48  # pixels of the frames
_FRAMES = 6
_BOUND = 8.  # pixels a frame, of the flow images
# Raise it whenever a change alters the files, so that old ones are noticed.
_VERSION = 1


def write_clips(data_root: str,
                scenes_root: str = 'data/scenes',
                splits: Mapping[str, int] = CLIP_SPLITS,
                seed: int = 0,
                scene_cfg: Mapping = {}) -> None:
    """Render clips of 48 x 48 pixels in UCF-101's layout, with flow.

    An object of a scene passes before another scene, which is out of focus,
    again and again. Which object it is tells the first three classes, which
    all move up or down, and the frames show it. The last two are of the same
    object, and only the direction of its motion tells them apart. The flow
    shows it, which is that to the moment after a frame. The frames do not: any
    time may pass from one to the next, in which the object may leave and come
    back.

    Args:
        data_root (str): The folder to make. It must not exist or be empty.
        scenes_root (str): Folder of the scene set, which is rendered unless
            it is there. Defaults to 'data/scenes'.
        splits (Mapping[str, int]): Number of clips of each split, whose
            objects are of the scenes of that split. Defaults to 400 for
            ``train`` and 100 for ``val``.
        seed (int): Seed of the clips. Defaults to 0.
        scene_cfg (Mapping): Arguments of :func:`write_scenes` besides the
            folder. Defaults to dict().

    Raises:
        FileExistsError: If there is something at ``data_root``.
        ValueError: If the scenes hold no object of a class.
    """
    with new_tree(data_root) as root:
        provide_scenes(scenes_root, **scene_cfg)
        print_log(
            f'Rendering {sum(splits.values())} clips into {data_root}, this '
            'once',
            logger='current')
        lists = osp.join(root, 'ucfTrainTestlist')
        os.makedirs(lists)
        with open(osp.join(lists, 'classInd.txt'), 'w') as f:
            f.writelines(f'{i} {name}\n'
                         for i, name in enumerate(CLIP_CLASSES, 1))
        sprites = {split: _sprites(scenes_root, split) for split in splits}
        tasks = [(split, i) for split, n in splits.items() for i in range(n)]
        lines: Dict[str, List[str]] = {split: [] for split in splits}
        for split, i in track_iter_progress(tasks):
            index = i % len(CLIP_CLASSES)
            name = f'v_{split}_{i:04d}'
            rng = np.random.default_rng([seed, i, *split.encode()])
            _save(root, name, _render(rng, sprites[split], *_KINDS[index]))
            lines[split].append(f'{CLIP_CLASSES[index]}/{name}.avi '
                                f'{index + 1}\n')
        for split, content in lines.items():
            with open(osp.join(lists, f'{split}list01.txt'), 'w') as f:
                f.writelines(content)
        write_json(
            osp.join(root, 'clips.json'), _settings(splits, seed, scene_cfg))


def ensure_clips(data_root: str, **kwargs) -> None:
    """Write the clips unless they are there already, see :func:`ensure`.

    Args:
        data_root (str): Folder of the clips.
        **kwargs: Further arguments of :func:`write_clips`.

    Raises:
        FileExistsError: If the folder holds something else.
        RuntimeError: If it holds clips of other settings or of another
            version, or if rank 0 failed to write them.
    """
    wanted = _settings(
        kwargs.get('splits', CLIP_SPLITS), kwargs.get('seed', 0),
        kwargs.get('scene_cfg', {}))
    ensure(data_root, 'clips.json', wanted,
           lambda: write_clips(data_root, **kwargs))


def _settings(splits: Mapping[str, int], seed: int,
              scene_cfg: Mapping) -> dict:
    return dict(
        version=_VERSION,
        seed=seed,
        splits=dict(splits),
        scene_cfg=dict(scene_cfg))


def _sprites(scenes_root: str, split: str) -> dict:
    """The objects of a split by category, each with its outline, and the
    images, as B, G, R."""
    with open(osp.join(scenes_root, 'annotations', f'{split}.json')) as f:
        coco = json.load(f)
    images = {
        image['id']: cv2.imread(osp.join(scenes_root, image['file_name']))
        for image in coco['images']
    }
    sprites: Dict[int, list] = {category: [] for category, _ in _KINDS}
    for annotation in coco['annotations']:
        x, y, w, h = annotation['bbox']
        if (annotation['category_id'] not in sprites or min(w, h) < 12
                or annotation['area'] < 0.4 * w * h):
            continue
        size, counts = (annotation['segmentation'][key]
                        for key in ('size', 'counts'))
        mask = np.repeat(np.arange(len(counts)) % 2, counts).astype(np.uint8)
        mask = mask.reshape(size, order='F')[y:y + h, x:x + w]
        image = images[annotation['image_id']][y:y + h, x:x + w]
        scale = 28 / max(w, h)
        size = max(round(w * scale), 4), max(round(h * scale), 4)
        sprites[annotation['category_id']].append(
            (cv2.resize(image, size, interpolation=cv2.INTER_AREA),
             cv2.resize(mask.astype(np.float32), size,
                        interpolation=cv2.INTER_AREA)))
    empty = [CLASSES[c] for c, found in sprites.items() if not found]
    if empty:
        raise ValueError(f'the scenes of {scenes_root}, split {split!r}, show '
                         f'no {empty} that is large enough: use more scenes')
    return dict(objects=sprites, images=list(images.values()))


def _render(rng: np.random.Generator, sprites: dict, category: int,
            direction: int) -> List[Tuple[np.ndarray, np.ndarray]]:
    """The frames of a clip and what follows each at once, all uint8
    (48, 48, 3) as B, G, R."""
    image = sprites['images'][rng.integers(len(sprites['images']))]
    background = cv2.resize(
        image, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA).astype(float)
    background = cv2.GaussianBlur(background, (0, 0), _SIZE / 8)
    objects = sprites['objects'][category]
    sprite, alpha = objects[rng.integers(len(objects))]
    axis = 0 if direction else 1
    step = np.zeros(2)
    step[axis] = (direction or rng.choice([-1, 1])) * rng.uniform(2, 5)
    room = _SIZE - np.array(alpha.shape[::-1])

    def photograph(place: np.ndarray) -> np.ndarray:
        shift = np.float32([[1, 0, place[0]], [0, 1, place[1]]])
        moved, cover = (
            cv2.warpAffine(a, shift, (_SIZE, _SIZE), flags=cv2.INTER_LINEAR)
            for a in (sprite, alpha))
        frame = background + cover[..., None] * (moved - background)
        frame += rng.normal(0, 2, frame.shape)
        return np.clip(np.rint(frame), 0, 255).astype(np.uint8)

    places = np.tile(rng.uniform(0, room), (_FRAMES, 1))
    places[:, axis] = rng.uniform(0, room[axis], _FRAMES)
    return [(photograph(x), photograph(x + step)) for x in places]


def _save(root: str, name: str,
          frames: List[Tuple[np.ndarray, np.ndarray]]) -> None:
    for i, (frame, following) in enumerate(frames):
        u, v = encode_flow(optical_flow(frame, following), _BOUND)
        images = {'frames': frame, 'flow/u': u, 'flow/v': v}
        for kind, image in images.items():
            write_image(
                osp.join(root, kind, name, f'frame{i + 1:06d}.png'), image)
