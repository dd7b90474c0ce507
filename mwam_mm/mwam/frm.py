"""The frequency ratio metric (FRM) of a modality's input."""
import math
import warnings
from contextlib import nullcontext
from functools import lru_cache
from types import ModuleType
from typing import Callable, List, Optional, Tuple

import torch
from torch import Tensor

from .dct import band_rows, num_bands

try:
    from torch.compiler import is_compiling
except ImportError:  # PyTorch before 2.3
    from torch._dynamo import is_compiling

METRICS = ('ratio', 'robust', 'low', 'sum', 'weighted_sum')
FLIPS = ('block', 'map')
# A patch whose other coefficients are below this share of DC is flat up to
# rounding: one grey level of an 8-bit image is a hundred times more.
FLAT = 1e-5
# Types of devices that have no float64.
WITHOUT_FLOAT64 = ('mps', )


def sum_dtype(device: torch.device) -> torch.dtype:
    """What sums over an image and a batch are kept in on a device.

    In float64 they hardly depend on how the batch is split.
    """
    return (torch.float32
            if device.type in WITHOUT_FLOAT64 else torch.float64)


@lru_cache(maxsize=None)
def _bases(patch_size: int, block_size: int, band: int, num_patches: int,
           dtype: torch.dtype,
           device: torch.device) -> List[Tuple[Tensor, Tensor]]:
    """What the two passes of the DCT multiply by, for either band.

    Returns:
        list[tuple[Tensor]]: For the band and the high one the rows of
        :func:`band_rows`, shape (q, p), and these transposed and repeated
        along the diagonal, shape (num_patches * p, num_patches * q).
    """
    bands = band_rows(patch_size, block_size, band).to(
        device=device, dtype=dtype)
    return [(rows, torch.block_diag(*[rows.t()] * num_patches))
            for rows in bands]


def check_arguments(patch_size: int, block_size: int, sigma: float,
                    metric: str, flip: str) -> None:
    """Raise ValueError if the arguments of :func:`frm` do not fit."""
    for key, value in (('patch_size', patch_size), ('block_size', block_size)):
        if not isinstance(value, int):
            raise ValueError(f'{key} must be an integer, but got {value!r}')
    if not 0 < sigma < math.inf:
        raise ValueError(f'sigma must be positive, but got {sigma}')
    if not 1 <= block_size <= patch_size:
        raise ValueError('block_size must lie in 1..patch_size, but got '
                         f'block_size={block_size}, patch_size={patch_size}')
    if metric not in METRICS:
        raise ValueError(f'metric must be one of {METRICS}, but got '
                         f'{metric!r}')
    if metric == 'robust' and block_size == 1:
        raise ValueError("metric='robust' leaves out DC, and block_size=1 "
                         'has nothing else: use 2 or more')
    if flip not in FLIPS:
        raise ValueError(f'flip must be one of {FLIPS}, but got {flip!r}')


def check_input(x: Tensor, patch_size: int, name: str = 'FRM') -> None:
    """Raise ValueError or TypeError if :func:`frm` cannot take an input."""
    if x.ndim != 4:
        raise ValueError(f'{name} takes a tensor of shape (B, C, H, W), but '
                         f'got {tuple(x.shape)}')
    if not x.is_floating_point():
        raise TypeError(f'{name} takes a floating point tensor, but got '
                        f'{x.dtype}: measure the normalised image; the '
                        "hook's inputs name the module that it enters")
    h, w = x.shape[2:]
    if min(h, w) < patch_size:
        raise ValueError(f'{name} needs at least one patch of {patch_size} x '
                         f'{patch_size}, but the input is {h} x {w}')


def _to_patches(x: Tensor, patch_size: int) -> Tensor:
    """View the whole patches as (B, C, rows, p, cols * p)."""
    rows, cols = (size // patch_size for size in x.shape[2:])
    x = x[..., :rows * patch_size, :cols * patch_size]
    return x.unflatten(2, (rows, patch_size))


@lru_cache(maxsize=None)
def loop_for(device: str) -> Optional[ModuleType]:
    """The module with the compiled loop for a type of device, if any."""
    try:
        if device == 'cpu':
            from . import frm_numba
            return frm_numba
        if device == 'cuda':
            from . import frm_triton
            frm_triton.try_out()
            return frm_triton
    except ImportError:  # not installed, or not for the installed NumPy
        pass
    except Exception as error:
        # It is of many kinds, mostly because Triton finds no C compiler.
        warnings.warn(f'FRM goes without its kernel for {device} devices and '
                      f'takes longer: {error}')
    return None


def _compiled_loop(x: Tensor, patch_size: int, block_size: int, flip: str,
                   band: int) -> Optional[ModuleType]:
    """The module whose compiled loop is to take ``x``, if any."""
    # Within torch.compile and where a gradient is asked for, only operators
    # of PyTorch will do.
    if flip != 'block' or band or is_compiling() or (
            x.requires_grad and torch.is_grad_enabled()):
        return None
    loop = loop_for(x.device.type)
    if loop is None or not loop.takes(x, patch_size, block_size):
        return None
    return loop


def _in_chunks(function: Callable[[Tensor], Tensor], x: Tensor,
               join: Callable[[List[Tensor], int], Tensor], num_dims: int,
               limit: int, dim: int = 0) -> Tensor:
    """Apply a function to one chunk of patches after the other.

    Args:
        function (Callable): Takes and returns a tensor.
        x (Tensor): Cut along its first dimension, and along the next one
            where a single entry is still too much.
        join (Callable): Joins the results of chunks along a dimension.
        num_dims (int): How many dimensions may be cut.
        limit (int): About how many elements a chunk has.
    """
    num_chunks = round(x.numel() / limit)
    if num_chunks <= 1 or dim == num_dims:
        return function(x)
    size = math.ceil(x.size(dim) / num_chunks)
    return join([
        _in_chunks(function, part, join, num_dims, limit, dim + 1)
        for part in x.split(size, dim)
    ], dim)


def _reduce(function: Callable[[Tensor, Tensor, Tensor], Tensor], x: Tensor,
            join: Callable[[List[Tensor], int], Tensor], patch_size: int,
            block_size: int, flip: str, band: int) -> Tensor:
    """Apply a function of the two bands, each (B, C, rows, q, cols, q), and
    of the patches, (B, C, rows, p, cols * p)."""
    x = _to_patches(x, patch_size)
    # The intermediates of a chunk take up to 9 bytes for each element: a
    # sixteenth of the input bounds them. On a CPU half a MiB to one stays in
    # the cache, and less would cost more calls than work.
    limit = max(x.numel() // 16, 1)
    if x.device.type == 'cpu':
        limit = min(max(limit, 2**17), 2**18)

    def of_chunk(x: Tensor) -> Tensor:
        return function(*_coefficients(x, block_size, flip, band), x)

    has_autocast = is_compiling() or _has_autocast(x.device.type)
    with (torch.autocast(x.device.type, enabled=False)
          if has_autocast else nullcontext()):
        return _in_chunks(of_chunk, x, join, 2 if flip == 'map' else 3, limit)


@lru_cache(maxsize=None)
def _has_autocast(device: str) -> bool:
    """Whether the installed PyTorch has autocast for a type of device."""
    try:
        torch.autocast(device, enabled=False)
    except RuntimeError:
        return False
    return True


def _coefficients(x: Tensor, block_size: int, flip: str,
                  band: int) -> Tuple[Tensor, Tensor]:
    """A band and the high one, each (B, C, rows, q, cols, q)."""
    p, q = x.size(3), block_size
    cols = x.size(4) // p
    shape = x.shape[:3] + (q, cols, q)
    if x.dtype != torch.float64:
        x = x.float()
    # Products with so few columns are slow: several patches share one.
    num_patches = math.gcd(cols, max(1, 64 // p))
    # The DCT is separable, and each pass keeps only the frequencies in use.
    x = x.reshape(-1, p, cols * p)
    low, high = (
        torch.mm(torch.matmul(vertical, x).view(-1, len(horizontal)),
                 horizontal).view(shape)
        for vertical, horizontal in _bases(p, q, band, num_patches,
                                           x.dtype, x.device))
    return low, high.flip(2, 4) if flip == 'map' else high


def _metric(low: Tensor, high: Tensor, sigma: float, metric: str) -> Tensor:
    """The metric at every position."""
    if metric == 'ratio':
        return (low / (high + sigma)).abs()
    if metric == 'low':
        return low.abs()
    if metric == 'sum':
        return low.abs() + high.abs()
    if metric == 'weighted_sum':
        return 0.9 * low.abs() + 0.1 * high.abs()
    raise ValueError("metric='robust' is a ratio of sums and has no value at "
                     'a single position')


def _sum(values: Tensor) -> Tensor:
    """Sum per sample of (B, C, rows, ..).

    The rows are added in :func:`sum_dtype`, so that the sum hardly depends on
    how the samples and rows were cut.
    """
    return values.flatten(3).sum(3).to(sum_dtype(values.device)).sum((1, 2))


def _parts(low: Tensor, high: Tensor, patches: Tensor, sigma: float,
           metric: str, band: int) -> Tensor:
    """Numerator and denominator per sample, shape (2, B)."""
    if metric != 'robust':
        total = _sum(_metric(low, high, sigma, metric))
        count = low.shape[1:].numel()
        return torch.stack([total, torch.full_like(total, count)])
    q = low.size(3)
    # DC is left out, and its counterpart, so that white noise gives 1.
    low, high = (x.abs().transpose(3, 4).flatten(4) for x in (low, high))
    dc, low, high = low[..., 0], low[..., 1:].sum(4), high[..., 1:].sum(4)
    if band:  # whose first coefficient is not DC
        p = patches.size(3)
        dc = patches.to(low).unflatten(4, (-1, p)).sum((3, 5)).abs() / p
    rest = low + high
    # A patch with Inf or NaN is not flat, so that the metric shows them.
    flat = (rest <= FLAT * dc) & (rest < math.inf)
    high = high + (q * q - 1) * sigma
    return torch.stack([_sum(x.masked_fill(flat, 0.)) for x in (low, high)])


def _partial_sums(x: Tensor,
                  patch_size: int = 8,
                  block_size: int = 2,
                  sigma: float = 1e-6,
                  metric: str = 'ratio',
                  flip: str = 'block',
                  band: int = 0) -> Tensor:
    """As :func:`frm_parts`, in parts of a sample that are yet to be added.

    Returns:
        Tensor: Shape (2, B, parts).
    """
    check_arguments(patch_size, block_size, sigma, metric, flip)
    if band not in range(num_bands(patch_size, block_size)):
        raise ValueError(
            f'band must lie in 0..{num_bands(patch_size, block_size) - 1}, '
            f'but got {band!r}: patches of {patch_size} have so many bands '
            f'of {block_size} below the highest')
    check_input(x, patch_size)
    loop = _compiled_loop(x, patch_size, block_size, flip, band)
    if loop is not None:
        return loop.partial_sums(x, patch_size, block_size, sigma, metric)

    def join(parts: List[Tensor], dim: int) -> Tensor:
        return torch.stack(parts).sum(0) if dim else torch.cat(parts, 1)

    return _reduce(
        lambda low, high, patches: _parts(low, high, patches, sigma, metric,
                                          band), x, join, patch_size,
        block_size, flip, band).unsqueeze(2)


def frm_parts(x: Tensor, *args, **kwargs) -> Tensor:
    """Numerator and denominator of :func:`frm`, sample by sample.

    The metric of several samples is the quotient of their sums, wherever the
    samples are. The arguments are those of :func:`frm`.

    Returns:
        Tensor: Shape (2, B), of :func:`sum_dtype`. Both are 0 of a sample
        without information; the numerator of an image of zeros is exactly 0.
    """
    return _partial_sums(x, *args, **kwargs).sum(2)


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

    Raises:
        ValueError: As :func:`frm`, and for ``'robust'``, which has no value
            at a single position.
    """
    check_arguments(patch_size, block_size, sigma, metric, flip)
    check_input(x, patch_size)
    return _reduce(
        lambda low, high, _: _metric(low, high, sigma, metric), x, torch.cat,
        patch_size, block_size, flip, band=0)


def frm(x: Tensor,
        patch_size: int = 8,
        block_size: int = 2,
        sigma: float = 1e-6,
        metric: str = 'ratio',
        flip: str = 'block',
        band: int = 0) -> Tensor:
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

    A patch without high frequencies, such as a hole in a depth map, counts
    :math:`|I_{low}| / \sigma` there, which outweighs all others. The robust
    metric of this package,

    .. math::
        FRM(x) = \frac{\sum |I_{low}|}{\sum (|flip(I_{high})| + \sigma)},

    sums over the patches that are not flat and leaves out DC and its
    counterpart, the highest frequency. White noise has 1.

    Args:
        x (Tensor): Input of shape (B, C, H, W), floating point. float16 and
            bfloat16 are computed in float32, also under autocast.
        patch_size (int): Side p of the patches. Defaults to 8.
        block_size (int): Side q of the bands. Defaults to 2.
        sigma (float): Added to the denominator. Defaults to 1e-6.
        metric (str): ``'ratio'`` (Eq. 4), ``'robust'`` (see above), ``'low'``
            (Eq. 3), ``'sum'`` (Eq. 27) or ``'weighted_sum'`` (Eq. 28, w =
            0.9). Defaults to ``'ratio'``.
        flip (str): ``'block'`` flips the high band inside each block,
            ``'map'`` the map assembled of all blocks. Defaults to
            ``'block'``.
        band (int): Which band takes the place of the low one: the q x q
            coefficients from the ``band * q``-th on along the diagonal.
            Defaults to 0, the low one.

    Returns:
        Tensor: 0-d, float32, or float64 for float64 input. NaN if
        ``'robust'`` finds only flat patches.

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
    # They are added up at once, since on a GPU a launch takes longer than a
    # sum.
    numerator, denominator = _partial_sums(x, patch_size, block_size, sigma,
                                           metric, flip, band).sum((1, 2))
    dtype = torch.promote_types(x.dtype, torch.float32)
    return (numerator / denominator).to(dtype)
