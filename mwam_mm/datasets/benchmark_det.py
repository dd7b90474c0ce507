"""Base of the public detection benchmarks, and their file formats."""
import os.path as osp
import xml.etree.ElementTree as ElementTree
from collections import Counter
from typing import (
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from mmengine.logging import print_log
from mmengine.utils import scandir

from .file_names import read_lines
from .image_files import IMAGE_SUFFIXES, image_size
from .multi_modal_coco import MultiModalCocoDataset

__all__ = [
    'BenchmarkDetDataset', 'Box', 'read_list', 'read_voc', 'read_xml',
    'to_number'
]


class Box(NamedTuple):
    """An object as a publisher's file has it.

    Args:
        name (str): What the file calls its class.
        x1 (float): Left.
        y1 (float): Top.
        x2 (float): Right.
        y2 (float): Bottom.
        ignore (bool): Whether detections on it count neither as right nor as
            wrong. Defaults to False.
    """
    name: str
    x1: float
    y1: float
    x2: float
    y2: float
    ignore: bool = False


def read_list(path: str) -> List[str]:
    """Read the lines of a text file, without empty ones.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it has no line, or a line twice, or as
            :func:`read_lines`.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(f'{path!r} is missing')
    lines = [line.strip() for _, line in read_lines(path)]
    if not lines:
        raise ValueError(f'{path!r} is empty')
    twice = [line for line, n in Counter(lines).items() if n > 1]
    if twice:
        raise ValueError(f'{path!r} has {twice[0]!r} twice')
    return lines


def to_number(text: Optional[str], where: str) -> float:
    """Convert the text of a file to a number.

    Raises:
        ValueError: If it is no number. The message begins with ``where``.
    """
    try:
        return float(text)
    except (TypeError, ValueError):
        raise ValueError(
            f'{where}: {text!r} should be a number') from None


def read_xml(path: str) -> Iterator[Tuple[str, ElementTree.Element, str]]:
    """Read the objects of a Pascal VOC file.

    Yields:
        tuple[str, Element, str]: Name, element, and how messages call it.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is not XML, or an object has no name.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(f'{path!r} is missing')
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f'{path!r} is not XML: {error}') from error
    for i, element in enumerate(root.iter('object'), 1):
        where = f'{path!r}: object {i}'
        name = element.findtext('name')
        if name is None:
            raise ValueError(f'{where} has no name')
        yield name.strip(), element, where


def read_voc(path: str) -> List[Box]:
    """Read the boxes of a Pascal VOC file and keep their coordinates.

    Boxes have either ``xmin``, ``ymin``, ``xmax`` and ``ymax``, or ``x``,
    ``y``, ``w`` and ``h``.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If the file is not of this kind. The message names the
            object.
    """
    boxes = []
    for name, element, where in read_xml(path):
        box = element.find('bndbox')
        if box is None:
            raise ValueError(f'{where} ({name!r}) has no bndbox')
        corners = box.find('xmin') is not None
        a, b, c, d = (
            to_number(box.findtext(key), f'{where} ({name!r}), {key}')
            for key in (('xmin', 'ymin', 'xmax', 'ymax') if corners else
                        ('x', 'y', 'w', 'h')))
        boxes.append(
            Box(name, a, b, c, d) if corners else Box(name, a, b, a + c, b +
                                                      d))
    return boxes


class BenchmarkDetDataset(MultiModalCocoDataset):
    """A published detection tree, read as it is.

    Subclasses list the samples of a split and read their boxes; sizes come
    from the headers of the images. ``tools/dataset_converters/to_coco.py``
    writes the same as a COCO json that keeps the paired paths.

    What the publishers wrote cannot be corrected: boxes outside their image
    or without area are left out, and the log says how many and where. A class
    that is neither one of ``METAINFO`` nor in ``ALIASES`` is an error.

    Args:
        data_root (str): Folder of the dataset.
        split (str): Name of the split. Defaults to 'train'.
        **kwargs: Other arguments of :class:`MultiModalCocoDataset`, apart
            from those that say where files are.

    Raises:
        FileNotFoundError: If a folder, list or annotation is missing. The
            message names it.
        ValueError: If ``split`` is unknown, or a file does not hold what it
            should.
    """
    STRICT = False
    SPLITS: Tuple[str, ...] = ('train', 'test')
    # Maps the publishers' spelling to the class, or to None for boxes to leave
    # out.
    ALIASES: Dict[str, Optional[str]] = dict()

    def __init__(self,
                 data_root: str,
                 split: str = 'train',
                 **kwargs) -> None:
        if split not in self.SPLITS:
            raise ValueError(f'split={split!r} is not a split of '
                             f'{type(self).__name__}, which has '
                             f'{list(self.SPLITS)}')
        self.split = split
        super().__init__(data_root=data_root, **kwargs)

    def samples(self) -> Iterable[Tuple[Dict[str, str], str]]:
        """List the samples of the split.

        Yields:
            tuple[dict[str, str], str]: Path key to file, the image first,
            and the file of annotations, all relative to ``data_root``.
        """
        raise NotImplementedError

    def boxes(self, path: str) -> Sequence[Box]:
        """Read a file of annotations, by default of Pascal VOC.

        Args:
            path (str): The file.
        """
        return read_voc(path)

    def size(self, path: str) -> Tuple[int, int]:
        """Height and width that the boxes refer to, by default the image's."""
        return image_size(path)

    def read(self) -> Tuple[dict, str]:
        """Read the tree.

        Returns:
            tuple[dict, str]: Content of a COCO json whose images have one
            path per modality, and its name for messages.
        """
        if not osp.isdir(self.data_root):
            raise FileNotFoundError(
                f'data_root={self.data_root!r} is missing')
        names = list(self.METAINFO['classes'])
        ids = {name: i for i, name in enumerate(names, 1)}
        images: List[dict] = []
        annotations: List[dict] = []
        left_out: Counter = Counter()
        for i, (paths, annotation_file) in enumerate(self.samples()):
            annotation_file = osp.join(self.data_root, annotation_file)
            height, width = self._first_size(paths)
            entry = dict(paths)
            images.append(
                dict(
                    id=i,
                    file_name=entry.pop('img_path'),
                    height=height,
                    width=width,
                    **entry))
            for box in self.boxes(annotation_file):
                name = self.ALIASES.get(box.name, box.name)
                if name is None:
                    left_out[box.name] += 1
                    continue
                if name not in ids:
                    raise ValueError(
                        f'{annotation_file!r} has the class {box.name!r}, '
                        f'which {type(self).__name__} does not know; its '
                        f'classes are {names}')
                w, h = box.x2 - box.x1, box.y2 - box.y1
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=i,
                        category_id=ids[name],
                        bbox=[box.x1, box.y1, w, h],
                        area=w * h,
                        iscrowd=int(box.ignore)))
        if not images:
            raise FileNotFoundError(f'no image of the split {self.split!r} '
                                    f'found in {self.data_root!r}')
        if left_out:
            print_log(
                f'{type(self).__name__} leaves out the boxes of '
                + ', '.join(f'{k!r} ({n})' for k, n in left_out.items()),
                logger='current')
        content = dict(
            images=images,
            annotations=annotations,
            categories=[dict(id=ids[name], name=name) for name in names])
        return content, f'split {self.split!r} of {self.data_root!r}'

    def _first_size(self, paths: Dict[str, str]) -> Tuple[int, int]:
        """Size of the first file that exists, as any may be optional."""
        files = [osp.join(self.data_root, path) for path in paths.values()]
        for path in files:
            if osp.isfile(path):
                return self.size(path)
        raise FileNotFoundError(f'{files[0]!r} is missing, as are all other '
                                'modalities of it')

    def list_images(self, folder: str) -> Dict[str, str]:
        """Stem to name of the images in a folder under ``data_root``.

        Raises:
            FileNotFoundError: If there is no such folder, or it is empty.
            ValueError: If two images have one stem.
        """
        path = osp.join(self.data_root, folder)
        if not osp.isdir(path):
            raise FileNotFoundError(
                f'folder {path!r} is missing: {type(self).__name__} expects '
                f'it under data_root={self.data_root!r}')
        images: Dict[str, str] = {}
        for name in sorted(
                scandir(path, IMAGE_SUFFIXES, case_sensitive=False)):
            stem = osp.splitext(name)[0]
            if stem in images:
                raise ValueError(f'{path!r} has both {images[stem]!r} and '
                                 f'{name!r}')
            images[stem] = name
        if not images:
            raise FileNotFoundError(f'{path!r} has no image')
        return images

    def pairs(self, annotations: str,
              **folders: str) -> Iterator[Tuple[Dict[str, str], str]]:
        """List the samples of a tree with one folder per modality.

        Files with the same stem belong together. A further modality has the
        suffix of the image unless there is a file with another suffix.

        Args:
            annotations (str): File of annotations, in which ``{}`` stands
                for the stem.
            **folders (str): Path key to folder, ``img_path`` first.

        Yields:
            tuple[dict[str, str], str]: What :meth:`samples` yields.
        """
        found = {
            key: self.list_images(folder)
            for key, folder in folders.items()
        }
        for stem, name in found['img_path'].items():
            yield {
                key: osp.join(folder, found[key].get(stem, name))
                for key, folder in folders.items()
            }, annotations.format(stem)
