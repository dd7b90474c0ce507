"""The embedded clips with optical flow."""
from typing import Optional

from mwam_mm.registry import DATASETS

from .clips import ClipDataset
from .scenes.clips import CLIP_CLASSES, CLIP_SPLITS, ensure_clips

__all__ = ['SceneClipDataset']


@DATASETS.register_module()
class SceneClipDataset(ClipDataset):
    """The embedded clips with optical flow, see :func:`write_clips`.

    They are rendered into ``data_root`` on first use from the scene set, which
    is rendered before, unless it is there.

    Args:
        data_root (str): Folder of the clips. Defaults to 'data/clips'.
        split (str): Name of the split. Defaults to 'train'.
        clip_cfg (dict, optional): Arguments of :func:`write_clips` besides
            ``data_root``. All datasets of one ``data_root`` need the same.
            Defaults to None.
        **kwargs: Further arguments of :class:`ClipDataset`.

    Raises:
        FileExistsError: If ``data_root`` holds something else.
        RuntimeError: If it holds clips of other settings.
        ValueError: If ``split`` is not one of the splits.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.SceneClipDataset',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadClip', random=True,
        ...              modalities=dict(rgb=dict(channels=9),
        ...                              flow=dict(channels=6, mean=127.5))),
        ...         dict(type='PackInputs')
        ...     ])
    """
    METAINFO = dict(classes=CLIP_CLASSES)

    def __init__(self,
                 data_root: str = 'data/clips',
                 split: str = 'train',
                 clip_cfg: Optional[dict] = None,
                 **kwargs) -> None:
        self.clip_cfg = dict(clip_cfg or {})
        splits = self.clip_cfg.get('splits', CLIP_SPLITS)
        if split not in splits:
            raise ValueError(f'split={split!r} is not a split of the clips, '
                             f'which have {list(splits)}')
        super().__init__(
            data_root,
            ann_file=f'ucfTrainTestlist/{split}list01.txt',
            **kwargs)

    def samples(self):
        """Render the clips unless they are there, then go through them."""
        ensure_clips(self.data_root, **self.clip_cfg)
        return super().samples()
