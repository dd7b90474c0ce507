"""Loading of label maps with all checks."""
from typing import Iterable, Optional, Sequence, Tuple

import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import LoadAnnotations

from .transforms.decoding import check_upright, decode, may_exceed_bytes
from .transforms.pipeline import flatten_pipeline

__all__ = ['check_label_maps', 'load_label_map']


def load_label_map(loader: LoadAnnotations, results: dict,
                   img_shape: Optional[Tuple[int, int]],
                   classes: Optional[Sequence[str]],
                   ignore_index: int) -> dict:
    """Load a label map and check it.

    Args:
        loader (LoadAnnotations): The transform that loads it.
        results (dict): The sample, with ``seg_map_path``.
        img_shape (tuple[int], optional): Height and width of the image, None
            if it is not loaded yet.
        classes (Sequence[str], optional): The classes, None if unknown.
        ignore_index (int): The label that is no class.

    Returns:
        dict: The sample, with the labels as ``gt_seg_map`` if those are what
        the transform loads.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it cannot be read, is turned by its EXIF tag, is a
            colour image, has another size than the image, or a label that is
            no class. The message names the file.
    """
    path = results['seg_map_path']
    where = f"results['seg_map_path'] = {path!r}"
    try:
        results = loader(results)
        label = results.get('gt_seg_map')
    except Exception as error:
        if not fileio.exists(path, backend_args=loader.backend_args):
            raise FileNotFoundError(f'{where} does not exist') from error
        reason = str(error)
        raise ValueError(reason if path in reason else
                         f'{where} cannot be read: {reason}') from error
    if label is None:  # it loads something else, such as edges
        return results
    content = fileio.get(path, backend_args=loader.backend_args)
    check_upright(content, where)
    if label.ndim != 2:
        raise ValueError(
            f'{where} has shape {label.shape}: it is a colour image, not '
            'class ids. Convert it, or load it with '
            'mwam_mm.LoadPaletteAnnotations')
    if may_exceed_bytes(content):
        # The stock transform casts to uint8, where 256 becomes 0.
        raw = decode(content, 'unchanged', loader.imdecode_backend, where)
        if raw.ndim == 2 and raw.max() > 255:
            raise ValueError(f'{where} has data type {raw.dtype} and label '
                             f'{raw.max()}: labels are up to 255')
    if classes is not None:
        wrong = label[(label >= len(classes)) & (label != ignore_index)]
        if len(wrong):
            value = wrong.min()
            raised = ' after reduce_zero_label' if results.get(
                'reduce_zero_label') else ''
            raise ValueError(
                f'{where} has label {value}{raised} '
                f'({np.count_nonzero(wrong == value)} pixels), which '
                f'is none of the {len(classes)} classes and not '
                f'ignore_index={ignore_index}')
    if img_shape not in (None, label.shape):
        raise ValueError(
            f'{where} has (height, width) {label.shape}, but '
            f'{results["img_path"]!r} has {img_shape}')
    return results


class _CheckedLoading:
    """Load a label map and check it.

    Sizes are compared here, before a resize of image and labels stretches
    what does not fit together.
    """

    def __init__(self, loader: LoadAnnotations,
                 classes: Optional[Sequence[str]], ignore_index: int) -> None:
        self.loader = loader
        self.classes = classes
        self.ignore_index = ignore_index

    def __call__(self, results: dict) -> dict:
        if 'seg_map_path' not in results:  # the loader knows what else to do
            return self.loader(results)
        return load_label_map(self.loader, results, results.get('ori_shape'),
                              self.classes, self.ignore_index)

    def __repr__(self) -> str:
        return repr(self.loader)


def check_label_maps(pipeline: Iterable,
                     classes: Optional[Sequence[str]],
                     ignore_index: int) -> None:
    """Have a pipeline check the label maps that it loads.

    Args:
        pipeline (Compose): Built transforms, in containers or not. Those
            that load annotations are replaced in place; then a bad file is
            the error of :func:`load_label_map`.
        classes (Sequence[str], optional): The classes, None if unknown.
        ignore_index (int): The label that is no class.
    """
    for container in list(flatten_pipeline(pipeline)):
        transforms = getattr(container, 'transforms', None)
        if isinstance(transforms, list):
            transforms[:] = [
                _CheckedLoading(t, classes, ignore_index) if isinstance(
                    t, LoadAnnotations) else t for t in transforms
            ]
