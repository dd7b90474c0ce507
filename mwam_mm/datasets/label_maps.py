"""Reading of label maps with all checks."""
from typing import Mapping, Optional, Sequence, Tuple

import mmcv
import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import LoadAnnotations

__all__ = ['load_label_map']


def load_label_map(loader: LoadAnnotations, info: Mapping,
                   img_shape: Tuple[int, int],
                   classes: Optional[Sequence[str]],
                   ignore_index: int) -> np.ndarray:
    """Read a label map and check it.

    Args:
        loader (LoadAnnotations): The transform that reads it.
        info (Mapping): The sample, with ``seg_map_path`` and what else the
            dataset gives.
        img_shape (tuple[int]): Height and width of the image.
        classes (Sequence[str], optional): The classes, None if unknown.
        ignore_index (int): The label that is no class.

    Returns:
        np.ndarray: The labels, (H, W).

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it cannot be read, is a colour image, has another size
            than the image, or a label that is no class. The message names
            the file.
    """
    path = info['seg_map_path']
    where = f"results['seg_map_path'] = {path!r}"
    try:
        content = fileio.get(path, backend_args=loader.backend_args)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{where} does not exist') from error
    try:
        raw = mmcv.imfrombytes(
            content, flag='unchanged', backend=loader.imdecode_backend)
        label = loader({**info, 'seg_fields': []})['gt_seg_map']
    except Exception as error:
        reason = str(error)
        raise ValueError(reason if path in reason else
                         f'{where} cannot be read: {reason}') from error
    if label.ndim != 2:
        raise ValueError(
            f'{where} has shape {label.shape}: it is a colour image, not '
            'class ids. Convert it, or load it with '
            'mwam_mm.LoadPaletteAnnotations')
    # The stock transform casts to uint8, where 256 becomes 0.
    if raw.ndim == 2 and raw.max() > 255:
        raise ValueError(f'{where} has data type {raw.dtype} and label '
                         f'{raw.max()}: labels are up to 255')
    if classes is not None:
        values, counts = np.unique(label, return_counts=True)
        wrong = (values >= len(classes)) & (values != ignore_index)
        if wrong.any():
            value, count = values[wrong][0], counts[wrong][0]
            raised = ' after reduce_zero_label' if info.get(
                'reduce_zero_label') else ''
            raise ValueError(
                f'{where} has label {value}{raised} ({count} pixels), which '
                f'is none of the {len(classes)} classes and not '
                f'ignore_index={ignore_index}')
    if label.shape != img_shape:
        raise ValueError(
            f'{where} has (height, width) {label.shape}, but '
            f'{info["img_path"]!r} has {img_shape}')
    return label
