"""Statistics of a dataset's files, and what is wrong with them."""
from collections import Counter
from typing import (
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np
from mmcv.transforms import LoadAnnotations

from mwam_mm.config import class_of, leaf_datasets, walk_transforms
from mwam_mm.consistency import check_alike
from mwam_mm.convert.pipeline import expanded
from mwam_mm.layout import Modality, ModalityLayout
from mwam_mm.registry import DATASETS, TRANSFORMS
from mwam_mm.tolerance import is_far

from .label_maps import load_label_map
from .transforms import LoadClip, LoadModalities

__all__ = ['DatasetInspection', 'ModalityStatistics', 'inspect_dataset']

# One value is reported that this share of the pixels has.
REPEATED_SHARE = 0.1


class ModalityStatistics:
    """Running statistics of the files of one modality.

    Args:
        modality (Modality): The modality.

    Attributes:
        modality (Modality): The modality.
        dtypes (Counter): Data type of the file to number of files.
        first_of_type (dict[str, str]): Data type to the first file of it.
        pixels (int): Values seen, valid or not.
        invalid (int): Those that mean "no measurement".
        coloured (list[str]): Files in colour of which ``file_channels`` takes
            one channel.
    """

    def __init__(self, modality: Modality) -> None:
        self.modality = modality
        self.dtypes: Counter = Counter()
        self.first_of_type: Dict[str, str] = {}
        self.coloured: List[str] = []
        self.pixels = 0
        self.invalid = 0
        self._count = np.zeros(modality.channels)
        self._mean = np.zeros(modality.channels)
        self._squares = np.zeros(modality.channels)
        self._min = np.full(modality.channels, np.inf)
        self._max = np.full(modality.channels, -np.inf)
        self._repeated: Counter = Counter()

    def update(self, planes: List[np.ndarray], path: str = '') -> None:
        """Take in one file.

        Args:
            planes (list[np.ndarray]): The modality's channels as they are in
                the file, each of shape (H, W).
            path (str): Path of the file. Defaults to ''.
        """
        modality = self.modality
        dtype = str(planes[0].dtype)
        self.dtypes[dtype] += 1
        self.first_of_type.setdefault(dtype, path)
        self._count_repeated(planes)
        if modality.bgr_to_rgb:
            planes = planes[::-1]
        for i, plane in enumerate(planes):
            valid = self._valid_values(plane)
            self.pixels += plane.size
            self.invalid += plane.size - valid.size
            if not valid.size:
                continue
            values = valid.astype(np.float64) * modality.scale
            mean = values.mean()
            values -= mean
            # Chan's update: sums of squares lose all digits where the mean
            # is far from 0.
            total = self._count[i] + valid.size
            delta = mean - self._mean[i]
            self._squares[i] += values @ values + (
                delta**2 * self._count[i] * valid.size / total)
            self._mean[i] += delta * valid.size / total
            self._count[i] = total
            for value in (valid.min(), valid.max()):
                value = float(value) * modality.scale
                self._min[i] = min(self._min[i], value)
                self._max[i] = max(self._max[i], value)

    def _count_repeated(self, planes: List[np.ndarray]) -> None:
        """Count the pixels of a file whose channels all have one value, for
        each value that is far more frequent than the next lower and higher
        one: measurements are not distributed so."""
        first, *others = planes
        same = np.isfinite(first)
        for plane in others:
            same &= plane == first
        values, counts = np.unique(first[same], return_counts=True)
        padded = np.concatenate([[0], counts, [0]])
        spikes = counts > 4 * np.maximum(padded[:-2], padded[2:])
        for i in np.flatnonzero(spikes & (counts >= first.size / 100)):
            self._repeated[float(values[i])] += int(counts[i])

    @property
    def repeated(self) -> Optional[Tuple[float, float]]:
        """tuple[float], optional: The value of the file that is exactly the
        same in a large share of the pixels, and that share. None if there is
        none which ``invalid_value`` does not name."""
        counts = {
            value: count
            for value, count in self._repeated.items()
            if value not in self.modality.invalid_value
        }
        if not counts:
            return None
        value = max(counts, key=counts.get)
        share = counts[value] * self.modality.channels / self.pixels
        return (value, share) if share >= REPEATED_SHARE else None

    def far_from_config(self) -> bool:
        """Whether the config's ``mean`` and ``std`` are not of such data.

        Returns:
            bool: True if a channel, normalised by them, has a mean or a
            deviation beyond what :func:`mwam_mm.tolerance.is_far` allows.
        """
        given = self.modality
        return is_far(
            [(mean - given_mean) / given_std for mean, given_mean, given_std in
             zip(self.mean, given.mean, given.std)],
            [std / given_std for std, given_std in zip(self.std, given.std)])

    def _valid_values(self, plane: np.ndarray) -> np.ndarray:
        """The values of a channel that are measurements, (N, )."""
        if not self.modality.invalid_value:
            return plane.ravel()
        invalid = np.zeros(plane.shape, bool)
        for value in self.modality.invalid_value:
            invalid |= np.isnan(plane) if np.isnan(value) else plane == value
        return plane[~invalid]

    @property
    def mean(self) -> Tuple[float, ...]:
        """tuple[float]: Mean per channel over the valid pixels, after
        ``scale``; R, G, B where ``bgr_to_rgb`` is set. NaN without any."""
        return self._where_seen(self._mean)

    @property
    def std(self) -> Tuple[float, ...]:
        """tuple[float]: Standard deviation, likewise."""
        return self._where_seen(
            np.sqrt(self._squares / np.maximum(self._count, 1)))

    @property
    def has_values(self) -> bool:
        """bool: Whether a file had a valid pixel."""
        return self.pixels > self.invalid

    @property
    def range(self) -> Tuple[float, float]:
        """tuple[float]: Smallest and largest valid value, after ``scale``."""
        return float(self._min.min()), float(self._max.max())

    @property
    def invalid_share(self) -> float:
        """float: Share of values that mean "no measurement"."""
        return self.invalid / max(self.pixels, 1)

    def _where_seen(self, values: np.ndarray) -> Tuple[float, ...]:
        return tuple(np.where(self._count > 0, values, np.nan).tolist())


class _RecordingLoader(LoadModalities):
    """Keep the channels as they are in the files."""

    def transform(self, results: dict) -> dict:
        self.planes: Dict[str, List[np.ndarray]] = {}
        self.paths: Dict[str, str] = {}
        self.coloured: List[str] = []
        return super().transform(results)

    def _select(self, image, path, modality):
        selected = super()._select(image, path, modality)
        self.planes[modality.name] = list(np.moveaxis(selected, -1, 0))
        self.paths[modality.name] = str(path)
        keys = [m.path_key for m in self.layout.values()]
        if modality.channels == 1 and image.dtype == np.uint8 and (
                image.shape[2] == 3) and keys.count(modality.path_key) == 1:
            # What JPEG makes of a grey image differs by a level or two.
            spread = image.max(2) - image.min(2)
            if np.count_nonzero(spread > 16) > spread.size / 100:
                self.coloured.append(modality.name)
        return selected


class DatasetInspection:
    """What was found in the files of one split.

    Args:
        layout (ModalityLayout): The modalities in use.
        classes (Sequence[str], optional): Names of the classes.

    Attributes:
        layout (ModalityLayout): The modalities in use.
        samples (int): Number of samples.
        files (dict[str, set[str]]): Path key to the files that were read.
        sizes (Counter): (height, width) to number of samples.
        modalities (dict[str, ModalityStatistics]): By name.
        labels (np.ndarray): Number of pixels of each label value, (256, ).
        boxes (Counter, optional): Class to number of boxes, those to ignore
            left out. None where the samples have no boxes.
        ignored_boxes (int): Number of boxes to ignore.
        without_boxes (int): Samples that have boxes of neither kind.
        problems (list[str]): One message for each bad sample, which names
            the file; in the order of the samples.
    """

    def __init__(self, layout: ModalityLayout,
                 classes: Optional[Tuple[str, ...]]) -> None:
        self.layout = layout
        self.classes = classes
        self.samples = 0
        self.files: Dict[str, set] = {}
        self.sizes: Counter = Counter()
        self.modalities = {
            name: ModalityStatistics(modality)
            for name, modality in layout.items()
        }
        self.labels = np.zeros(256, np.int64)
        self.boxes: Optional[Counter] = None
        self.ignored_boxes = 0
        self.without_boxes = 0
        self.problems: List[str] = []

    def add_sample(self, info: Mapping, loader: _RecordingLoader,
                   img_shape: Tuple[int, int],
                   label: Optional[np.ndarray]) -> None:
        """Take in a sample that has been read.

        Args:
            info (Mapping): What the dataset says of it.
            loader (_RecordingLoader): What has read its modalities.
            img_shape (tuple[int]): Height and width.
            label (np.ndarray, optional): Its label map. None without one.
        """
        self.sizes[img_shape] += 1
        for name, planes in loader.planes.items():
            path = loader.paths[name]
            self.modalities[name].update(planes, path)
            if name in loader.coloured:
                self.modalities[name].coloured.append(path)
            key = loader.layout[name].path_key
            self.files.setdefault(key, set()).add(info[key])
        if 'instances' in info:
            self._add_boxes(info['instances'])
        if label is not None:
            self.labels += np.bincount(label.ravel(), minlength=256)
            self.files.setdefault('seg_map_path', set()).add(
                info['seg_map_path'])

    def _add_boxes(self, instances: List[dict]) -> None:
        if self.boxes is None:
            self.boxes = Counter({name: 0 for name in self.classes or ()})
        self.without_boxes += not instances
        for instance in instances:
            if instance['ignore_flag']:
                self.ignored_boxes += 1
            else:
                self.boxes[self.classes[instance['bbox_label']]] += 1

    def class_shares(self) -> Dict[str, float]:
        """Share of each class among the labelled pixels."""
        counts = self.labels[:len(self.classes or ())]
        return dict(zip(self.classes or (),
                        (counts / max(counts.sum(), 1)).tolist()))


def _find(pipeline: Sequence[Mapping], base: type) -> List[Mapping]:
    """Configs of the transforms of a class, in nested containers too."""
    found: List[Mapping] = []
    for transform in walk_transforms(expanded(pipeline)):
        cls = class_of(transform, TRANSFORMS)
        if isinstance(cls, type) and issubclass(cls, base):
            found.append(transform)
    return found


def _loaders(
    dataset_type: str, pipeline: Sequence[Mapping]
) -> Tuple[_RecordingLoader, Optional[LoadAnnotations]]:
    """What reads the modalities and the label maps, as a pipeline would."""
    loaders = _find(pipeline, LoadModalities)
    if not loaders:
        raise ValueError(
            f'the pipeline of {dataset_type} has no '
            'mwam_mm.LoadModalities: there are no modalities to check')
    if _find(pipeline, LoadClip):
        raise ValueError(
            f'the pipeline of {dataset_type} loads clips, and only images '
            'are checked here. The dataset itself looks for the folders '
            'of every clip')
    loading = {k: v for k, v in loaders[0].items() if k != 'type'}
    annotations = _find(pipeline, LoadAnnotations)
    return _RecordingLoader(**loading), (
        TRANSFORMS.build(annotations[0]) if annotations else None)


def inspect_dataset(cfg: Mapping) -> Iterator[DatasetInspection]:
    """Read all files of a split as its pipeline would.

    Args:
        cfg (Mapping): Config of the dataset, whose pipeline has a
            :class:`LoadModalities` and, for segmentation, a transform that
            loads annotations. Wrappers of datasets are looked into.

    Yields:
        DatasetInspection: The same object after every sample, at first
        before any. Label maps are checked where the samples have a
        ``seg_map_path``; boxes are checked by the dataset.

    Raises:
        ValueError: If the pipeline has no :class:`LoadModalities`, or loads
            clips, or two datasets in wrappers have other modalities or
            classes.
    """
    result = None
    for leaf in leaf_datasets(cfg):
        loader, load_labels = _loaders(
            leaf['type'], leaf.get('pipeline') or cfg.get('pipeline') or [])
        dataset = DATASETS.build({**leaf, 'pipeline': []})
        classes = tuple(dataset.metainfo.get('classes') or ()) or None
        if result is None:
            result = DatasetInspection(loader.layout, classes)
        # They have one table, by the first one's scale and classes.
        check_alike(('the first dataset', result.layout, result.classes),
                    (leaf['type'], loader.layout, classes))
        result.samples += len(dataset)
        yield result
        for i in range(len(dataset)):
            info = dataset.get_data_info(i)
            try:
                shape, label = loader(dict(info))['img_shape'], None
                if load_labels is not None and info.get('seg_map_path'):
                    label = load_label_map(
                        load_labels, {**info, 'seg_fields': []}, shape,
                        classes,
                        getattr(dataset, 'ignore_index',
                                255)).get('gt_seg_map')
            except (KeyError, OSError, ValueError) as error:
                # str() of a KeyError puts its message in quotes.
                result.problems.append(error.args[0] if isinstance(
                    error, KeyError) else str(error))
            else:
                result.add_sample(info, loader, shape, label)
            yield result
