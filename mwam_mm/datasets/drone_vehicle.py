"""DroneVehicle: vehicles from above in RGB and infrared."""
from typing import Dict, Iterator, List, Tuple

from mwam_mm.registry import DATASETS

from .benchmark_det import BenchmarkDetDataset, Box, read_xml, to_number
from .image_files import image_size

__all__ = ['DroneVehicleDataset']


@DATASETS.register_module()
class DroneVehicleDataset(BenchmarkDetDataset):
    """DroneVehicle, 28439 RGB-infrared pairs of five classes.

    `Drone-based RGB-Infrared Cross-Modality Vehicle Detection via
    Uncertainty-Aware Learning <https://github.com/VisDrone/DroneVehicle>`_, in
    the layout of its publishers:

    .. code-block:: none

        data_root
        ├── train                      17990
        │   ├── trainimg/NNNNN.jpg     8-bit colour, 712 x 840
        │   ├── trainimgr/NNNNN.jpg    infrared, three equal channels
        │   ├── trainlabel/NNNNN.xml   boxes of the vehicles seen in RGB
        │   └── trainlabelr/NNNNN.xml  those seen in infrared
        ├── val                        1469
        └── test                       8980

    The images have a white border of 100 pixels, which
    ``LoadModalities(border=100)`` cuts off; the boxes refer to the images
    without it. Objects are polygons of four points and become the
    upright boxes around them. The publishers' spellings of the classes
    ("feright car", "truvk", ..) are understood; objects without a class ("*")
    or without a place are left out, as are those in the border.

    Args:
        data_root (str): Folder with train, val and test.
        split (str): 'train', 'val' or 'test'. Defaults to 'train'.
        labels (str): Which modality's boxes to read, 'infrared' or 'rgb'.
            Infrared is usual, as it shows more vehicles by night. Defaults to
            'infrared'.
        **kwargs: Other arguments of :class:`MultiModalCocoDataset`, apart
            from those that say where files are.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.DroneVehicleDataset',
        ...     data_root='data/drone_vehicle',
        ...     split='train',
        ...     pipeline=[
        ...         dict(
        ...             type='mwam_mm.LoadModalities',
        ...             border=100,
        ...             modalities=dict(
        ...                 rgb=dict(channels=3, bgr_to_rgb=True),
        ...                 infrared=dict(channels=1, file_channels=[0]))),
        ...         dict(type='LoadAnnotations', with_bbox=True),
        ...         dict(type='PackDetInputs')
        ...     ])
    """
    METAINFO = dict(
        classes=('car', 'truck', 'bus', 'van', 'freight_car'),
        palette=[(0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100),
                 (250, 170, 30)])
    SPLITS = ('train', 'val', 'test')
    BORDER = 100
    INNER = (512, 640)  # a published image without its border
    ALIASES = {
        'feright car': 'freight_car',
        'feright_car': 'freight_car',
        'freight car': 'freight_car',
        'feright': 'freight_car',
        'truvk': 'truck',
        '*': None,
        '': None,
    }
    _LABELS = dict(infrared='labelr', rgb='label')

    def __init__(self,
                 data_root: str,
                 split: str = 'train',
                 labels: str = 'infrared',
                 **kwargs) -> None:
        if labels not in self._LABELS:
            raise ValueError("labels must be 'infrared' or 'rgb', but got "
                             f'{labels!r}')
        self.labels = labels
        super().__init__(data_root, split, **kwargs)

    def samples(self) -> Iterator[Tuple[Dict[str, str], str]]:
        """List the pairs of the split."""
        folder = f'{self.split}/{self.split}'
        return self.pairs(
            f'{folder}{self._LABELS[self.labels]}/{{}}.xml',
            img_path=f'{folder}img',
            infrared_path=f'{folder}imgr')

    def size(self, path: str) -> Tuple[int, int]:
        """Height and width without the border."""
        size = image_size(path)
        if size == self.INNER:
            raise ValueError(
                f'{path!r} is without the border of {self.BORDER} pixels that '
                'the published images and boxes have: use the images and XML '
                'files as published')
        height, width = (side - 2 * self.BORDER for side in size)
        if height <= 0 or width <= 0:
            raise ValueError(
                f'{path!r} is smaller than the border of {self.BORDER} '
                'pixels that the published images have')
        return height, width

    def boxes(self, path: str) -> List[Box]:
        """Read a file of annotations."""
        boxes = []
        for name, element, where in read_xml(path):
            polygon, box = element.find('polygon'), element.find('bndbox')
            if polygon is not None:
                keys, element = '1234', polygon
                xs, ys = ([f'{axis}{i}' for i in keys] for axis in 'xy')
            elif box is not None:
                element, xs, ys = box, ['xmin', 'xmax'], ['ymin', 'ymax']
            else:
                # An object without a place becomes a box without area.
                boxes.append(Box(name, 0, 0, 0, 0))
                continue
            xs, ys = ([
                to_number(element.findtext(key), f'{where} ({name!r}), {key}')
                - self.BORDER for key in keys
            ] for keys in (xs, ys))
            boxes.append(Box(name, min(xs), min(ys), max(xs), max(ys)))
        return boxes
