"""The frequency ratio metric (FRM) of a modality's input."""
import math
from functools import lru_cache

import torch
from torch import Tensor

METRICS = ('ratio', 'low', 'sum', 'weighted_sum')
FLIPS = ('block', 'map')


@lru_cache(maxsize=None)
def _basis(patch_size: int, block_size: int, dtype: torch.dtype,
           device: torch.device) -> Tensor:
    """Rows of the orthonormal DCT-II matrix that the two bands need.

    Returns:
        Tensor: Shape (2q, p): the q lowest frequencies in rising order, then
        the q highest in falling order, which is the flip inside a block.
    """
    n = torch.arange(patch_size, dtype=torch.float64)
    rows = torch.cos(math.pi * (2 * n + 1) * n[:, None] / (2 * patch_size))
    rows *= math.sqrt(2 / patch_size)
    rows[0] /= math.sqrt(2)
    rows = torch.cat([rows[:block_size], rows.flip(0)[:block_size]])
    return rows.to(device=device, dtype=dtype)


def check_arguments(patch_size: int, block_size: int, metric: str,
                    flip: str) -> None:
    """Raise ValueError if the arguments of :func:`frm` do not fit."""
    if not 1 <= block_size <= patch_size:
        raise ValueError('block_size must lie in 1..patch_size, but got '
                         f'block_size={block_size}, patch_size={patch_size}')
    if metric not in METRICS:
        raise ValueError(f'metric must be one of {METRICS}, but got '
                         f'{metric!r}')
    if flip not in FLIPS:
        raise ValueError(f'flip must be one of {FLIPS}, but got {flip!r}')


def frm_map(x: Tensor,
            patch_size: int = 8,
            block_size: int = 2,
            sigma: float = 1e-6,
            metric: str = 'ratio',
            flip: str = 'block') -> Tensor:
    """The metric at every position, see :func:`frm`.

    Returns:
        Tensor: Shape (B, C, H // p, q, W // p, q); the patch's row, the
        coefficient's row, the patch's column, the coefficient's column.
    """
    check_arguments(patch_size, block_size, metric, flip)
    if x.ndim != 4:
        raise ValueError('FRM takes a tensor of shape (B, C, H, W), but got '
                         f'{tuple(x.shape)}')
    if not x.is_floating_point():
        raise TypeError('FRM takes a floating point tensor, but got '
                        f'{x.dtype}')
    b, c, h, w = x.shape
    p, q = patch_size, block_size
    rows, cols = h // p, w // p
    if not rows or not cols:
        raise ValueError(f'FRM needs at least one patch of {p} x {p}, but the '
                         f'input is {h} x {w}')
    with torch.autocast(x.device.type, enabled=False):
        if x.dtype != torch.float64:
            x = x.float()
        basis = _basis(p, q, x.dtype, x.device)
        x = x[..., :rows * p, :cols * p].reshape(b * c * rows, p, cols * p)
        # Separable, and each pass keeps only the 2q frequencies in use.
        x = torch.matmul(basis, x).view(-1, 2, q, cols, p)
        low = torch.matmul(x[:, 0], basis[:q].t())
        high = torch.matmul(x[:, 1], basis[q:].t())
        low = low.view(b, c, rows, q, cols, q)
        high = high.view(b, c, rows, q, cols, q)
        if flip == 'map':
            high = high.flip(2, 4)
        if metric == 'ratio':
            return (low / (high + sigma)).abs()
        if metric == 'low':
            return low.abs()
        if metric == 'sum':
            return low.abs() + high.abs()
        return 0.9 * low.abs() + 0.1 * high.abs()


def frm(x: Tensor,
        patch_size: int = 8,
        block_size: int = 2,
        sigma: float = 1e-6,
        metric: str = 'ratio',
        flip: str = 'block') -> Tensor:
    r"""Frequency ratio metric of one modality's input.

    The input is split into p x p patches. With :math:`I_{low}` the top-left
    and :math:`I_{high}` the bottom-right q x q coefficients of each patch's
    orthonormal two-dimensional DCT-II, Eq. 4 is

    .. math::
        FRM(x) = \operatorname{mean}
        \left| \frac{I_{low}}{flip(I_{high}) + \sigma} \right|

    It is the mean, not the sum, over all positions, channels and samples, so
    that modalities of different channel counts compare. Rows and columns
    that do not fill a patch are left out.

    Args:
        x (Tensor): Input of shape (B, C, H, W), floating point. float16 and
            bfloat16 are computed in float32, also under autocast.
        patch_size (int): Side p of the patches. Defaults to 8.
        block_size (int): Side q of the bands. Defaults to 2.
        sigma (float): Added to the denominator. Defaults to 1e-6.
        metric (str): ``'ratio'`` (Eq. 4), ``'low'`` (Eq. 3), ``'sum'`` (Eq.
            27) or ``'weighted_sum'`` (Eq. 28, w = 0.9). Defaults to
            ``'ratio'``.
        flip (str): ``'block'`` flips the high band inside each block,
            ``'map'`` the map assembled of all blocks. Defaults to
            ``'block'``.

    Returns:
        Tensor: 0-d, float32, or float64 for float64 input.

    Raises:
        ValueError: If the input is not 4-d or smaller than one patch, or an
            argument is out of range.
        TypeError: If the input is not floating point.

    Examples:
        >>> import torch
        >>> flat = torch.ones(1, 1, 8, 8)
        >>> # Of the four low coefficients only DC is not 0: it is 8.
        >>> round(frm(flat, metric='low').item(), 4)
        2.0
    """
    return frm_map(x, patch_size, block_size, sigma, metric, flip).mean()
