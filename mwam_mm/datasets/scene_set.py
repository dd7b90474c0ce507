"""What the datasets of the embedded scene set share."""
from typing import List, Optional

from .scenes import SPLITS, ensure_scenes

__all__ = ['SceneSet']


class SceneSet:
    """Render the scene set on first use.

    It is mixed in before the dataset class; see :class:`SceneDataset` for the
    arguments.
    """

    def __init__(self, data_root: str, split: str, scene_cfg: Optional[dict],
                 **kwargs) -> None:
        self.scene_cfg = dict(scene_cfg or {})
        splits = self.scene_cfg.get('splits', SPLITS)
        if split not in splits:
            raise ValueError(f'split={split!r} is not a split of the scene '
                             f'set, which has {list(splits)}')
        super().__init__(data_root=data_root, **kwargs)

    def load_data_list(self) -> List[dict]:
        """Render the set unless it is there, then list the samples.

        Returns:
            list[dict]: The data dicts of the dataset class.
        """
        ensure_scenes(self.data_root, **self.scene_cfg)
        return super().load_data_list()
