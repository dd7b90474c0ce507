"""The embedded RGB-D-thermal scene set for classification."""
import os.path as osp
from typing import Iterator, List, Optional, Tuple

import mmengine.fileio as fileio

from mwam_mm.registry import DATASETS

from .multi_modal_cls import MultiModalClsDataset
from .scene_set import SceneSet
from .scenes import CLASSES

__all__ = ['SceneClsDataset']

# Sides of the crop in sides of the object's box, so that a bit of what is
# around it is seen.
_MARGIN = 1.25


@DATASETS.register_module()
class SceneClsDataset(SceneSet, MultiModalClsDataset):
    """The objects of the embedded RGB-D-thermal scene set, one per sample.

    A sample is the square around an object, its ``crop_box``, and the question
    is which object it is. The files are those of
    :class:`SceneDataset`, rendered into ``data_root`` on first use, which
    takes about a minute.

    Args:
        data_root (str): Folder of the set. Defaults to 'data/scenes'.
        split (str): Name of the split. Defaults to 'train'.
        scene_cfg (dict, optional): Arguments of :func:`write_scenes` besides
            ``data_root``, for a set of another size or seed. All datasets
            of one ``data_root`` need the same. Defaults to None.
        min_area (int): Visible pixels that an object needs to be asked for.
            Defaults to 60.
        **kwargs: Further arguments of :class:`MultiModalClsDataset`, e.g.
            ``indices=8`` for the first 8 objects only.

    Raises:
        FileExistsError: If ``data_root`` holds something else.
        RuntimeError: If it holds a scene set of other settings.
        ValueError: If ``split`` is not one of the set's splits.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.SceneClsDataset',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             depth=dict(channels=1, scale=0.001, invalid_value=0),
        ...             thermal=dict(channels=1))),
        ...         dict(type='Resize', scale=(48, 48)),
        ...         dict(type='PackInputs')
        ...     ])
    """
    # Everything but the background
    METAINFO = dict(classes=CLASSES[1:])

    def __init__(self,
                 data_root: str = 'data/scenes',
                 split: str = 'train',
                 scene_cfg: Optional[dict] = None,
                 min_area: int = 60,
                 **kwargs) -> None:
        self.min_area = min_area
        super().__init__(
            data_root,
            split,
            scene_cfg,
            ann_file=f'annotations/{split}.json',
            **kwargs)

    def samples(self) -> Iterator[Tuple[str, dict]]:
        """Go through the objects, see :class:`MultiModalClsDataset`."""
        coco = fileio.load(self.ann_file)
        images = {image['id']: image for image in coco['images']}
        for annotation in coco['annotations']:
            if annotation['area'] < self.min_area:
                continue
            image = images[annotation['image_id']]
            paths = dict(
                img_path=image['file_name'],
                depth_path=image['depth_path'],
                thermal_path=image['thermal_path'])
            sample = {
                key: osp.join(self.data_root, path)
                for key, path in paths.items()
            }
            yield f'{self.ann_file}, annotation {annotation["id"]}', dict(
                sample,
                gt_label=annotation['category_id'] - 1,
                crop_box=_square(annotation['bbox'], image))


def _square(box: List[int], image: dict) -> Tuple[int, int, int, int]:
    """The square around a box, as far as it lies within the image."""
    x, y, width, height = box
    side = round(_MARGIN * max(width, height))
    left, top = x + (width - side) // 2, y + (height - side) // 2
    right = min(left + side, image['width'])
    bottom = min(top + side, image['height'])
    left, top = max(left, 0), max(top, 0)
    return left, top, right - left, bottom - top
