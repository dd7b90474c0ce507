"""Pictures of the modalities of a sample."""
import copy
from dataclasses import replace
from typing import Any, Callable, Dict, Iterable, Mapping

import numpy as np

from mwam_mm.config import walk_transforms
from mwam_mm.datasets.transforms import LoadModalities
from mwam_mm.layout import Modality, ModalityLayout

from .panels import modality_picture

__all__ = ['ModalityPictures', 'find_loading', 'mark_holes', 'split_stack']

# A mean that no sensor measures. LoadModalities puts it where there is no
# measurement, which tells those pixels from all others. It is so large that
# interpolation between it and any measurement is still far below all others.
_NO_MEASUREMENT = -1e30


class ModalityPictures:
    """Make a picture of each modality from the files of a sample.

    They are read as a pipeline reads them: the same channels, in the same
    units, without the same border.

    Args:
        transforms (Compose | Sequence[Callable]): Built transforms, with a
            :class:`LoadModalities` among them.

    Raises:
        ValueError: If they have none.
    """

    def __init__(self, transforms: Iterable[Callable]) -> None:
        load = find_loading(transforms)
        self.layout = load.layout
        self._load = copy.copy(load)
        self._load.layout = mark_holes(load.layout, optional=True)

    def __call__(self, paths: Mapping[str, Any]) -> Dict[str, np.ndarray]:
        """Read the files of a sample.

        Args:
            paths (dict): The path of each modality by its ``path_key``.

        Returns:
            dict[str, np.ndarray]: Modality to its RGB picture of shape
            (H, W, 3), uint8. One without a file is left out.
        """
        results = self._load(
            {m.path_key: paths[m.path_key] for m in self.layout.values()})
        pictures = split_stack(results['img'], self.layout)
        for name in results['absent_modalities']:
            del pictures[name]
        return pictures


def find_loading(transforms: Iterable[Callable]) -> LoadModalities:
    """Find what loads the modalities.

    Args:
        transforms (Compose | Sequence[Callable]): Built transforms.

    Returns:
        LoadModalities: The first among them and within containers.

    Raises:
        ValueError: If there is none.
    """
    for transform in walk_transforms([transforms]):
        if isinstance(transform, LoadModalities):
            return transform
    raise ValueError('the pipeline has no LoadModalities, so there are no '
                     'modalities to draw')


def mark_holes(layout: ModalityLayout,
               optional: bool = False) -> ModalityLayout:
    """A layout with which what is loaded shows where nothing was measured.

    Args:
        layout (ModalityLayout): The layout of a pipeline.
        optional (bool): Whether files may be missing, whatever the layout
            says. Defaults to False.

    Returns:
        ModalityLayout: The one to load with, for :func:`split_stack`.
    """

    def change(modality: Modality) -> Modality:
        mean = modality.mean
        if modality.invalid_value:
            mean = (_NO_MEASUREMENT, ) * modality.channels
        return replace(
            modality, mean=mean, optional=optional or modality.optional)

    return layout.map(change)


def split_stack(stack: np.ndarray,
                layout: ModalityLayout) -> Dict[str, np.ndarray]:
    """Make a picture of each modality of a stacked image.

    Args:
        stack (np.ndarray): Shape (H, W, C), what a loading with
            :func:`mark_holes` gives, transformed or not.
        layout (ModalityLayout): Its layout.

    Returns:
        dict[str, np.ndarray]: Modality to its RGB picture of shape (H, W, 3),
        uint8, see :func:`modality_picture`. A pixel has no measurement where
        a channel has none.
    """
    pictures = {}
    for name, modality in layout.items():
        image = stack[..., modality.slice]
        invalid = (image < _NO_MEASUREMENT / 1e10).any(2)
        if image.dtype != np.uint8 and _holds_bytes(image[~invalid]):
            # Another modality made the stack float.
            image = np.where(invalid[..., None], 0, image).astype(np.uint8)
        if modality.channels == 3:
            image = image[..., ::-1]
        pictures[name] = modality_picture(image, invalid)
    return pictures


def _holds_bytes(values: np.ndarray) -> bool:
    return bool(values.size) and bool(
        ((values >= 0) & (values <= 255) & (values % 1 == 0)).all())
