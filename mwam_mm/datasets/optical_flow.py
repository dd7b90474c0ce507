"""Optical flow between frames, by OpenCV, and its images."""
from typing import Tuple

import cv2
import numpy as np

__all__ = ['METHODS', 'encode_flow', 'optical_flow']

METHODS = ('dis', 'farneback')


def optical_flow(first: np.ndarray,
                 second: np.ndarray,
                 method: str = 'dis') -> np.ndarray:
    """How far each pixel moves from one frame to the next.

    Args:
        first (np.ndarray): The frame, uint8, (H, W) or (H, W, 3) in B, G, R.
        second (np.ndarray): The next one, of the same size.
        method (str): ``'dis'``, dense inverse search, or ``'farneback'``,
            polynomial expansion. Defaults to ``'dis'``.

    Returns:
        np.ndarray: Pixels to the right (u) and downwards (v), float32, of
        shape (H, W, 2).

    Raises:
        ValueError: If the method is unknown or the sizes differ.
    """
    if method not in METHODS:
        raise ValueError(f'method={method!r} is none of {list(METHODS)}')
    if first.shape != second.shape:
        raise ValueError(f'the frames have the shapes {first.shape} and '
                         f'{second.shape}, which must be one')
    first, second = (
        # DIS takes no views
        np.ascontiguousarray(x) if x.ndim == 2 else cv2.cvtColor(
            x, cv2.COLOR_BGR2GRAY) for x in (first, second))
    if method == 'farneback':
        return cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3,
                                            5, 1.2, 0)
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return dis.calc(first, second, None)


def encode_flow(flow: np.ndarray,
                bound: float = 20.) -> Tuple[np.ndarray, np.ndarray]:
    """Images of u and v.

    Args:
        flow (np.ndarray): Shape (H, W, 2), in pixels.
        bound (float): Pixels that are as bright or dark as can be; more is
            clipped. Defaults to 20, as usual for UCF-101.

    Returns:
        tuple[np.ndarray, np.ndarray]: u and v, uint8, (H, W): -bound is 0,
        bound is 255, and 0 is halfway between 127 and 128.

    Raises:
        ValueError: If ``bound`` is not positive.

    Examples:
        >>> import numpy as np
        >>> u, v = encode_flow(np.array([[[-20., 2.]]]))
        >>> u.item(), v.item()
        (0, 140)
    """
    if bound <= 0:
        raise ValueError(f'bound must be positive, but got {bound}')
    scaled = np.clip(flow / bound, -1, 1) * 127.5 + 127.5
    images = np.rint(scaled).astype(np.uint8)
    return images[..., 0], images[..., 1]
