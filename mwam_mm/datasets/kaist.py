"""KAIST: pedestrians by day and by night in RGB and thermal."""
import os.path as osp
from collections import Counter
from typing import Dict, Iterator, List, Optional, Tuple

from mmengine.logging import print_log

from mwam_mm.registry import DATASETS

from .benchmark_det import (
    BenchmarkDetDataset,
    Box,
    read_list,
    read_voc,
    to_number,
)
from .file_names import read_lines

__all__ = ['KAISTDataset']

_LISTS = dict(train='train-all-02', test='test-all-20')
# From the best to the worst. The last two have annotations of all frames.
_FOLDERS = ('annotations-xml-new-sanitized', 'annotations-improved',
            'annotations-xml-new', 'annotations')


def read_bbgt(path: str) -> List[Box]:
    """Read the boxes of a text file of Piotr's toolbox, bbGt version 3.

    A line has the class, x, y, width and height of the box, occlusion, the
    visible box, whether to ignore it, and an angle.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If the file is not of this kind. The message names the
            line.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(f'{path!r} is missing')
    boxes = []
    for number, line in read_lines(path):
        if line.startswith('%'):
            continue
        where = f'{path!r}, line {number}'
        fields = line.split()
        if len(fields) not in (5, 11, 12):
            raise ValueError(f'{where} has {len(fields)} fields; expected 12 '
                             'of bbGt version 3')
        x, y, w, h = (to_number(field, where) for field in fields[1:5])
        ignore = len(fields) > 10 and to_number(fields[10], where) != 0
        boxes.append(Box(fields[0], x, y, x + w, y + h, ignore))
    return boxes


@DATASETS.register_module()
class KAISTDataset(BenchmarkDetDataset):
    """KAIST's multispectral pedestrians, pairs of RGB and thermal.

    `Multispectral Pedestrian Detection: Benchmark Dataset and Baseline
    <https://soonminhwang.github.io/rgbt-ped-detection/>`_ with the sanitised
    annotations of `MSDS-RCNN
    <https://li-chengyang.github.io/home/MSDS-RCNN/>`_, in the layout of the
    publishers (``kaist-cvpr15``):

    .. code-block:: none

        data_root
        ├── images/set00/V000/visible/I00001.jpg   8-bit colour, 512 x 640
        ├── images/set00/V000/lwir/I00001.jpg      8-bit thermal
        ├── annotations-xml-new-sanitized/set00/V000/I00001.xml
        └── imageSets/{train-all-02,test-all-20}.txt   set00/V000/I00001

    Every second frame of set00 to set05 is for training, every 20th of set06
    to set11 for testing (2252). The sets 00, 01, 02, 06, 07 and 08 were taken
    by day. The sanitised annotations cover the training sets. For a frame
    without them, the folders ``annotations-improved``, meant for the improved
    ones of the test sets, ``annotations-xml-new`` and ``annotations`` are
    searched in this order, and the log says how many frames have theirs from
    which. They hold XML with x, y, w and h, or text of bbGt version 3.

    Only "person" counts. "person?", "people", "cyclist" and objects that a
    file marks as ignored are ignored: detections on them are neither right nor
    wrong, as in the publishers' metric. Their log-average miss rate on the
    "reasonable" part is another metric than the mAP here.

    Args:
        data_root (str): Folder with images, annotations and imageSets.
        split (str): 'train' or 'test'. Defaults to 'train'.
        subset (str, optional): 'day' or 'night' for the part of the split that
            was taken then. Defaults to None, which takes all.
        **kwargs: Other arguments of :class:`MultiModalCocoDataset`, apart
            from those that say where files are.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.KAISTDataset',
        ...     data_root='data/kaist',
        ...     split='train',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadModalities', modalities=dict(
        ...             rgb=dict(channels=3, bgr_to_rgb=True),
        ...             thermal=dict(channels=1, file_channels=[0]))),
        ...         dict(type='LoadAnnotations', with_bbox=True),
        ...         dict(type='PackDetInputs')
        ...     ])
    """
    METAINFO = dict(classes=('person', ), palette=[(220, 20, 60)])
    DAY = ('set00', 'set01', 'set02', 'set06', 'set07', 'set08')
    IGNORED = ('person?', 'people', 'cyclist', 'person?a')
    ALIASES = {name: 'person' for name in IGNORED}

    def __init__(self,
                 data_root: str,
                 split: str = 'train',
                 subset: Optional[str] = None,
                 **kwargs) -> None:
        if subset not in (None, 'day', 'night'):
            raise ValueError(
                f"subset must be None, 'day' or 'night', but got {subset!r}")
        self.subset = subset
        super().__init__(data_root, split, **kwargs)

    def samples(self) -> Iterator[Tuple[Dict[str, str], str]]:
        """List the pairs of the split."""
        path = osp.join(self.data_root, 'imageSets',
                        f'{_LISTS[self.split]}.txt')
        sources: Counter = Counter()
        for name in read_list(path):
            parts = name.replace('\\', '/').split('/')
            if len(parts) != 3:
                raise ValueError(f'{path!r} has {name!r}; expected names such '
                                 "as 'set00/V000/I00001'")
            folder, video, frame = parts
            if self.subset is not None and (
                    self.subset == 'day') != (folder in self.DAY):
                continue
            annotation = self._annotation(f'{folder}/{video}/{frame}')
            sources[annotation.split('/')[0]] += 1
            yield {
                key: f'images/{folder}/{video}/{camera}/{frame}.jpg'
                for key, camera in (('img_path', 'visible'),
                                    ('thermal_path', 'lwir'))
            }, annotation
        print_log(
            f'KAISTDataset, split {self.split!r}, has its annotations from '
            + ', '.join(f'{k} ({n})' for k, n in sources.items()),
            logger='current')

    def _annotation(self, name: str) -> str:
        """The best annotations of a frame."""
        tried = [
            f'{folder}/{name}{suffix}' for folder in _FOLDERS
            for suffix in ('.xml', '.txt')
        ]
        for path in tried:
            if osp.isfile(osp.join(self.data_root, path)):
                return path
        raise FileNotFoundError(
            f'{osp.join(self.data_root, tried[0])!r} is missing, as is any '
            f'of {tried[1:]}')

    def boxes(self, path: str) -> List[Box]:
        """Read a file of annotations."""
        read = read_bbgt if path.endswith('.txt') else read_voc
        return [
            box._replace(ignore=box.ignore or box.name in self.IGNORED)
            for box in read(path)
        ]
