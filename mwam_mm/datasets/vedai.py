"""VEDAI: vehicles from above in RGB and near infrared."""
import os.path as osp
from typing import Dict, Iterator, List, Tuple

from mwam_mm.registry import DATASETS

from .benchmark_det import BenchmarkDetDataset, Box, read_list, to_number
from .file_names import read_lines

__all__ = ['VEDAIDataset']


@DATASETS.register_module()
class VEDAIDataset(BenchmarkDetDataset):
    """VEDAI, about 1200 aerial RGB and near-infrared pairs of nine classes.

    `Vehicle Detection in Aerial Imagery: A small target detection benchmark
    <https://downloads.greyc.fr/vedai/>`_, in the layout of its publishers
    (1024 or 512):

    .. code-block:: none

        data_root
        ├── Vehicules1024/NNNNNNNN_co.png     8-bit colour
        ├── Vehicules1024/NNNNNNNN_ir.png     8-bit near infrared
        ├── Annotations1024/NNNNNNNN.txt      one vehicle a line
        ├── Annotations1024/fold01.txt        names for training
        ├── Annotations1024/fold01test.txt    names for testing
        └── ...                               fold02 to fold10

    A line has the centre, orientation, class, whether it is contained and
    occluded, and x and y of the four corners, which become the upright box
    around them. The few motorcycles and buses are left out, as in the
    publishers' protocol. A vehicle without corners is left out too.

    Args:
        data_root (str): Folder with Vehicules and Annotations.
        split (str): 'train' or 'test'. Defaults to 'train'.
        fold (int): Fold of the cross-validation, 1 to 10. Defaults to 1.
        resolution (int): 512 or 1024. Defaults to 1024.
        **kwargs: Other arguments of :class:`MultiModalCocoDataset`, apart
            from those that say where files are.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.VEDAIDataset',
        ...     data_root='data/vedai',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             nir=dict(channels=1, file_channels=[0]))),
        ...         dict(type='LoadAnnotations', with_bbox=True),
        ...         dict(type='PackDetInputs')
        ...     ])
    """
    METAINFO = dict(
        classes=('car', 'truck', 'tractor', 'camping_car', 'van', 'other',
                 'pickup', 'boat', 'plane'),
        palette=[(0, 0, 142), (0, 0, 70), (250, 170, 30), (119, 11, 32),
                 (0, 80, 100), (128, 128, 128), (220, 20, 60), (0, 226, 252),
                 (165, 42, 42)])
    # The files give the classes as numbers.
    ALIASES = {
        '1': 'car',
        '2': 'truck',
        '4': 'tractor',
        '5': 'camping_car',
        '7': None,  # motorcycle
        '8': None,  # bus
        '9': 'van',
        '10': 'other',
        '11': 'pickup',
        '23': 'boat',
        '31': 'plane',
    }

    def __init__(self,
                 data_root: str,
                 split: str = 'train',
                 fold: int = 1,
                 resolution: int = 1024,
                 **kwargs) -> None:
        if fold not in range(1, 11):
            raise ValueError(f'fold must be 1 to 10, but got {fold!r}')
        if resolution not in (512, 1024):
            raise ValueError('resolution must be 512 or 1024, but got '
                             f'{resolution!r}')
        self.fold = fold
        self.resolution = resolution
        super().__init__(data_root, split, **kwargs)

    def samples(self) -> Iterator[Tuple[Dict[str, str], str]]:
        """List the pairs of the split."""
        images = f'Vehicules{self.resolution}'
        annotations = f'Annotations{self.resolution}'
        part = 'test' if self.split == 'test' else ''
        for name in read_list(
                osp.join(self.data_root, annotations,
                         f'fold{self.fold:02d}{part}.txt')):
            yield dict(
                img_path=f'{images}/{name}_co.png',
                nir_path=f'{images}/{name}_ir.png',
            ), f'{annotations}/{name}.txt'

    def boxes(self, path: str) -> List[Box]:
        """Read a file of annotations."""
        if not osp.isfile(path):
            raise FileNotFoundError(f'{path!r} is missing')
        boxes = []
        for number, line in read_lines(path):
            where = f'{path!r}, line {number}'
            values = [to_number(v, where) for v in line.split()]
            if len(values) == 5:  # x, y, class and flags, but no corners
                boxes.append(Box(str(int(values[2])), 0, 0, 0, 0))
                continue
            if len(values) != 14:
                raise ValueError(f'{where} has {len(values)} fields; '
                                 'expected 14')
            xs, ys = values[6:10], values[10:]
            boxes.append(
                Box(str(int(values[3])), min(xs), min(ys), max(xs), max(ys)))
        return boxes
