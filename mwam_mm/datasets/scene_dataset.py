"""The embedded RGB-D-thermal scene set for segmentation."""
from typing import Optional

from mwam_mm.registry import DATASETS

from .multi_modal_seg import MultiModalSegDataset
from .scene_set import SceneSet
from .scenes import CLASSES, PALETTE

__all__ = ['SceneDataset']


@DATASETS.register_module()
class SceneDataset(SceneSet, MultiModalSegDataset):
    """The embedded RGB-D-thermal scene set, see :func:`render_scene`.

    Its files are rendered into ``data_root`` on first use, which takes about a
    minute, and are found there afterwards. ``img_path``, ``depth_path``,
    ``thermal_path`` and ``seg_map_path`` are in every data dict; a job that
    does not need a modality just leaves it out of its ``modalities``.

    Args:
        data_root (str): Folder of the set. Defaults to 'data/scenes'.
        split (str): Name of the split. Defaults to 'train'.
        scene_cfg (dict, optional): Arguments of :func:`write_scenes` besides
            ``data_root``, for a set of another size or seed. All datasets
            of one ``data_root`` need the same. Defaults to None.
        **kwargs: Further arguments of :class:`MultiModalSegDataset`, e.g.
            ``indices=8`` for the first 8 scenes only.

    Raises:
        FileExistsError: If ``data_root`` holds something else.
        RuntimeError: If it holds a scene set of other settings.
        ValueError: If ``split`` is not one of the set's splits.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.SceneDataset',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             depth=dict(channels=1, scale=0.001, invalid_value=0),
        ...             thermal=dict(channels=1))),
        ...         dict(type='LoadAnnotations'),
        ...         dict(type='PackSegInputs')
        ...     ])
    """
    METAINFO = dict(classes=CLASSES, palette=PALETTE)

    def __init__(self,
                 data_root: str = 'data/scenes',
                 split: str = 'train',
                 scene_cfg: Optional[dict] = None,
                 **kwargs) -> None:
        super().__init__(
            data_root,
            split,
            scene_cfg,
            data_prefix=dict(
                img_path=f'rgb/{split}',
                depth_path=f'depth/{split}',
                thermal_path=f'thermal/{split}',
                seg_map_path=f'label/{split}'),
            img_suffix='.png',
            **kwargs)
