"""Video clips with optical flow, as images on disk."""
import os.path as osp
from typing import Dict, Iterator, List, Tuple

import mmengine.fileio as fileio

from mwam_mm.registry import DATASETS

from .file_names import read_lines
from .multi_modal_cls import MultiModalClsDataset
from .transforms.clip import FOLDERS
from .transforms.pipeline import loaded_modalities

__all__ = ['ClipDataset']


@DATASETS.register_module()
class ClipDataset(MultiModalClsDataset):
    """Clips with optical flow by UCF-101's layout and split files.

    .. code-block:: none

        data_root
        ├── ucfTrainTestlist
        │   ├── classInd.txt         1 ApplyEyeMakeup
        │   ├── trainlist01.txt      ApplyEyeMakeup/v_..._g08_c01.avi 1
        │   └── testlist01.txt       ApplyEyeMakeup/v_..._g01_c01.avi
        ├── frames/v_..._g08_c01/frame000001.jpg
        ├── flow/u/v_..._g08_c01/frame000001.jpg
        └── flow/v/v_..._g08_c01/frame000001.jpg

    ``tools/dataset_converters/flow.py`` makes the frames and the flow of the
    published videos. The class of a clip is the folder before its name, and
    the number behind it, counted from 1, must agree. :class:`LoadClip` loads a
    sample.

    Args:
        data_root (str): The folder.
        ann_file (str): The split file. Defaults to
            'ucfTrainTestlist/trainlist01.txt'.
        class_file (str): The numbered classes. Defaults to
            'ucfTrainTestlist/classInd.txt'.
        data_prefix (dict[str, str]): The folders of the frames, of u and of
            v, each with one folder per clip. Defaults to
            dict(img_path='frames', u_path='flow/u', v_path='flow/v').
        **kwargs: Further arguments of :class:`MultiModalClsDataset`.

    Raises:
        FileNotFoundError: If a file or folder is missing; the message names
            the list and the line.
        ValueError: If a line is none of these, or the pipeline holds a
            transform that turns the image but not its flow.

    Examples:
        >>> train_dataset = dict(
        ...     type='mwam_mm.ClipDataset',
        ...     data_root='data/ucf101',
        ...     pipeline=[
        ...         dict(type='mwam_mm.LoadClip', random=True,
        ...              modalities=dict(rgb=dict(channels=9),
        ...                              flow=dict(channels=6, mean=127.5))),
        ...         dict(type='Resize', scale=(112, 112)),
        ...         dict(type='mwam_mm.FlipClip', prob=0.5),
        ...         dict(type='PackInputs')
        ...     ])
    """

    def __init__(self,
                 data_root: str,
                 ann_file: str = 'ucfTrainTestlist/trainlist01.txt',
                 class_file: str = 'ucfTrainTestlist/classInd.txt',
                 data_prefix: dict = dict(
                     img_path='frames', u_path='flow/u', v_path='flow/v'),
                 **kwargs) -> None:
        self.class_file = osp.join(data_root, class_file)
        super().__init__(
            data_root=data_root,
            ann_file=ann_file,
            data_prefix=data_prefix,
            **kwargs)

    def samples(self) -> Iterator[Tuple[str, dict]]:
        """Go through the clips, see :class:`MultiModalClsDataset`."""
        classes = self._classes()
        given = self._metainfo.setdefault('classes', tuple(classes))
        if list(given) != list(classes):
            raise ValueError(f'metainfo has the classes {list(given)}, but '
                             f'{self.class_file} has {list(classes)}')
        if not fileio.exists(self.ann_file):
            raise FileNotFoundError(f'ann_file {self.ann_file!r} does not '
                                    'exist')
        for number, line in read_lines(self.ann_file):
            where = f'{self.ann_file}, line {number}'
            video, *label = line.split()
            name, slash, file = video.rpartition('/')
            if not slash or len(label) > 1:
                raise ValueError(f'{where} should be "<class>/<clip> '
                                 f'[<number>]", but is {line!r}')
            if name not in classes:
                raise ValueError(f'{where}: {name!r} is no class of '
                                 f'{self.class_file}')
            index = classes[name]
            if label and label != [str(index + 1)]:
                raise ValueError(
                    f'{where}: label {label[0]}, but {self.class_file} gives '
                    f'{name} the number {index + 1} of {len(classes)}')
            clip = osp.splitext(file)[0]
            yield where, dict(
                {
                    key: osp.join(folder, clip)
                    for key, folder in self.data_prefix.items()
                },
                gt_label=index)

    def _classes(self) -> Dict[str, int]:
        """Class to its index, which counts from 0."""
        if not fileio.exists(self.class_file):
            raise FileNotFoundError(f'class_file {self.class_file!r} does not '
                                    'exist')
        names: List[str] = []
        for number, line in read_lines(self.class_file):
            cells = line.split()
            if len(cells) != 2 or cells[0] != str(len(names) + 1):
                raise ValueError(
                    f'{self.class_file}, line {number} should be '
                    f'"{len(names) + 1} <class>", but is {line!r}')
            names.append(cells[1])
        return {name: i for i, name in enumerate(names)}

    def _needed_keys(self) -> set:
        """The path keys of the folders that every clip needs."""
        return {
            key
            for m in loaded_modalities(self.pipeline) if not m.optional
            for key in FOLDERS.get(m.name, ())
        }
