"""Sizes of images within stock pipelines."""
import math
from typing import Any, Callable, Iterable, Optional, Tuple

import numpy as np
from mmengine.registry import DATASETS

from mwam_mm.config import leaf_datasets, type_name, walk_dicts
from mwam_mm.datasets.transforms import LoadModalities

__all__ = ['fit_sizes', 'is_scenes', 'map_size', 'map_sizes', 'size_factor']

# Arguments of transforms and data preprocessors that are image sizes. Those
# of the first kind are of the whole image; the others are what a network is
# given, which must be divisible.
_OF_IMAGES = ('scale', 'scales', 'max_size')
_OF_INPUTS = ('crop_size', 'size', 'img_scale', 'width', 'height',
              'random_size_range')
_DIVISOR = 32
# Images that are to be enlarged further than this keep their size. Detectors
# of COCO enlarge by 1.7.
_MAX_ENLARGEMENT = 2
_SAMPLES = 5

Change = Callable[[str, int], int]


def map_sizes(cfg: Any, change: Change) -> Any:
    """Change all image sizes within a pipeline's config.

    Args:
        cfg (Any): The config, or a part of it. It is not changed.
        change (Callable): From the name of an argument and a size in pixels
            to the new size.

    Returns:
        Any: The changed config.
    """
    if isinstance(cfg, (list, tuple)):
        return type(cfg)(map_sizes(c, change) for c in cfg)
    if not isinstance(cfg, dict):
        return cfg
    cfg = dict(cfg)
    for key, value in cfg.items():
        if key == 'crop_size' and 'relative' in cfg.get('crop_type', ''):
            continue
        if key in (*_OF_IMAGES, *_OF_INPUTS) and value is not None:
            cfg[key] = map_size(value, lambda size: change(key, size))
        elif key == 'border' and type_name(cfg) == 'RandomAffine':
            # That of a mosaic, which is half an image, inwards.
            cfg[key] = map_size(
                value, lambda size: -change('img_scale', -2 * size) // 2)
        else:
            cfg[key] = map_sizes(value, change)
    return cfg


def map_size(old: Any, change: Callable[[int], int]) -> Any:
    """A size in the form of an old one.

    Args:
        old (int | Sequence): A number, a pair, or a list of pairs.
        change (Callable): From one size in pixels to another.

    Returns:
        int | Sequence: The new one.
    """
    if isinstance(old, (list, tuple)):
        return type(old)(map_size(o, change) for o in old)
    return change(old)


def fit_sizes(cfg: Any, factor: float) -> Any:
    """Change all image sizes by a factor.

    Args:
        cfg (Any): Config of a pipeline, or a part of one.
        factor (float): The factor. What a network is given stays divisible
            by 32.

    Returns:
        Any: The changed config.
    """

    def change(key: str, size: int) -> int:
        if not isinstance(size, int) or size <= 0:  # a share, or any size
            return size
        if key in _OF_IMAGES:
            return max(1, round(size * factor))
        return _DIVISOR * max(1, math.ceil(size * factor / _DIVISOR))

    return map_sizes(cfg, change)


def short_side(pipeline: Iterable[dict]) -> Optional[int]:
    """Shorter side to which a test pipeline resizes images.

    Args:
        pipeline (Iterable[dict]): Configs of the transforms.

    Returns:
        int | None: In pixels; None if it does not resize to a size.
    """
    for _, transform in walk_dicts(list(pipeline)):
        scale = transform.get('scale')
        if type_name(transform) == 'EfficientNetCenterCrop':
            return transform['crop_size']  # it resizes what it crops
        if 'Resize' in type_name(transform) and scale is not None:
            while isinstance(scale, (list, tuple)) and isinstance(
                    scale[0], (list, tuple)):
                scale = scale[0]
            return min(scale) if isinstance(scale, (list, tuple)) else scale
    return None


def median_size(dataset: dict, load: LoadModalities) -> Tuple[int, int]:
    """Median size of the images of a dataset.

    Args:
        dataset (dict): Config of the dataset, in no wrapper.
        load (LoadModalities): What loads its images.

    Returns:
        tuple[int]: Height and width, of a few samples.

    Raises:
        OSError: If files are missing.
        ValueError: If they cannot be read.
    """
    built = DATASETS.build(dict(dataset, pipeline=[]))
    places = np.linspace(0, len(built) - 1, _SAMPLES).round().astype(int)
    sizes = [
        load(built.get_data_info(i))['img_shape']
        for i in sorted(set(places.tolist()))
    ]
    height, width = np.median(sizes, 0).round().astype(int).tolist()
    return height, width


def is_scenes(dataset: dict) -> bool:
    """Whether it is the embedded scene set."""
    return type_name(dataset) in ('SceneDataset', 'SceneDetDataset',
                                  'SceneClsDataset')


def size_factor(pipeline: Iterable[dict], dataset: dict,
                loading: dict) -> Optional[float]:
    """By what the sizes of a stock config are to be multiplied.

    Args:
        pipeline (Iterable[dict]): The stock test pipeline.
        dataset (dict): Config of the user's dataset.
        loading (dict): Arguments of the :class:`LoadModalities` that loads
            its images.

    Returns:
        float | None: A factor below 1 if the stock config would enlarge the
        images to more than twice their size; then they keep it. None if the
        sizes stay. A note says what was done.
    """
    side = short_side(pipeline)
    leaf = next(leaf_datasets(dataset))
    if side is None or is_scenes(leaf):
        return None  # the files may not be yet
    try:
        height, width = median_size(leaf, LoadModalities(**loading))
    except (OSError, KeyError, ValueError) as error:
        print("note: the sizes of the base's pipeline stay, as the images "
              f'cannot be read: {error}')
        return None
    if side <= _MAX_ENLARGEMENT * min(height, width):
        return None
    factor = min(height, width) / side
    print(f'note: the images have {width} x {height} pixels (width x height), '
          f'whose shorter side the base enlarges to {side}: all sizes of its '
          f'pipeline are multiplied by {factor:.3g}')
    return factor
