"""PST900: underground scenes in RGB and thermal."""
from mwam_mm.registry import DATASETS

from .benchmark import BenchmarkSegDataset

__all__ = ['PST900Dataset']


@DATASETS.register_module()
class PST900Dataset(BenchmarkSegDataset):
    """Penn Subterranean Thermal 900, 894 RGB-thermal pairs of 5 classes.

    `PST900: RGB-Thermal Calibration, Dataset and Segmentation Network
    <https://github.com/ShreyasSkandanS/pst900_thermal_rgb>`_, in the layout
    of its publishers:

    .. code-block:: none

        data_root
        ├── train
        │   ├── rgb/*.png            8-bit colour
        │   ├── thermal/*.png        8-bit thermal, 0 where there is none
        │   ├── thermal_raw/*.png    16-bit thermal, 0 where there is none
        │   ├── depth/*.png          16-bit stereo depth
        │   └── labels/*.png         class ids, 0 to 4
        └── test

    ``img_path``, ``thermal_path``, ``thermal_raw_path`` and ``depth_path``
    are in every data dict, whether the files are there or not. The raw
    thermal images take the place of the 8-bit ones with
    ``thermal=dict(path_key='thermal_raw_path', ...)``.

    Args:
        data_root (str): Folder with train and test.
        split (str): 'train' or 'test'. Defaults to 'train'.
        **kwargs: Other arguments of :class:`MultiModalSegDataset`, apart
            from those that say where files are.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.PST900Dataset',
        ...     data_root='data/pst900',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             thermal=dict(channels=1, invalid_value=0))),
        ...         dict(type='LoadAnnotations'),
        ...         dict(type='PackSegInputs')
        ...     ])
    """
    METAINFO = dict(
        classes=('background', 'fire_extinguisher', 'backpack', 'hand_drill',
                 'survivor'),
        # The publishers' colours; their code has them as B, G, R.
        palette=[[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255],
                 [255, 255, 255]])

    FOLDERS = dict(
        img_path='{split}/rgb',
        thermal_path='{split}/thermal',
        thermal_raw_path='{split}/thermal_raw',
        depth_path='{split}/depth',
        seg_map_path='{split}/labels')
