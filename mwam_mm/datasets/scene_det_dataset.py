"""The embedded RGB-D-thermal scene set for detection."""
from typing import List, Optional

from mwam_mm.registry import DATASETS

from .multi_modal_coco import MultiModalCocoDataset
from .scenes import CLASSES, PALETTE, SPLITS, ensure_scenes

__all__ = ['SceneDetDataset']


@DATASETS.register_module()
class SceneDetDataset(MultiModalCocoDataset):
    """The embedded RGB-D-thermal scene set with boxes and instance masks.

    Its files are rendered into ``data_root`` by the first use, which takes
    about a minute, and found again afterwards. ``img_path``, ``depth_path``
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
        self.scene_cfg = dict(scene_cfg or {})
        splits = self.scene_cfg.get('splits', SPLITS)
        if split not in splits:
            raise ValueError(f'split={split!r} is not a split of the scene '
                             f'set, which has {list(splits)}')
        super().__init__(
            data_root=data_root,
            ann_file=f'annotations/{split}.json',
            **kwargs)

    def load_data_list(self) -> List[dict]:
        """Render the set unless it is there, then list the samples.

        Returns:
            list[dict]: As of :class:`MultiModalCocoDataset`.
        """
        ensure_scenes(self.data_root, **self.scene_cfg)
        return super().load_data_list()
