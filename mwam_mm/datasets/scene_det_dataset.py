"""The embedded RGB-D-thermal scene set for detection."""
from typing import Optional

from mwam_mm.registry import DATASETS

from .multi_modal_coco import MultiModalCocoDataset
from .scene_set import SceneSet
from .scenes import CLASSES, PALETTE

__all__ = ['SceneDetDataset']


@DATASETS.register_module()
class SceneDetDataset(SceneSet, MultiModalCocoDataset):
    """The embedded RGB-D-thermal scene set with boxes and instance masks.

    Its files are rendered into ``data_root`` on first use, which takes about a
    minute, and are found there afterwards. ``img_path``, ``depth_path``
    and ``thermal_path`` are in every data dict; a job that does not need a
    modality just leaves it out of its ``modalities``.

    Args:
        data_root (str): Folder of the set. Defaults to 'data/scenes'.
        split (str): Name of the split. Defaults to 'train'.
        scene_cfg (dict, optional): Arguments of :func:`write_scenes` besides
            ``data_root``, for a set of another size or seed. All datasets
            of one ``data_root`` need the same. Defaults to None.
        **kwargs: Further arguments of :class:`MultiModalCocoDataset`, e.g.
            ``indices=8`` for the first 8 scenes only.

    Raises:
        FileExistsError: If ``data_root`` holds something else.
        RuntimeError: If it holds a scene set of other settings.
        ValueError: If ``split`` is not one of the set's splits.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.SceneDetDataset',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             depth=dict(channels=1, scale=0.001, invalid_value=0),
        ...             thermal=dict(channels=1))),
        ...         dict(type='LoadAnnotations', with_bbox=True),
        ...         dict(type='PackDetInputs')
        ...     ])
    """
    # Everything but the background
    METAINFO = dict(classes=CLASSES[1:], palette=PALETTE[1:])

    def __init__(self,
                 data_root: str = 'data/scenes',
                 split: str = 'train',
                 scene_cfg: Optional[dict] = None,
                 **kwargs) -> None:
        super().__init__(
            data_root,
            split,
            scene_cfg,
            ann_file=f'annotations/{split}.json',
            **kwargs)
