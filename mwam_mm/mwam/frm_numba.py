"""FRM on a CPU: one loop over the image, compiled by Numba.

A row of patches stays in the first cache from the image to its sum, which is
what the operators of PyTorch cannot do.
"""
import ctypes
from functools import lru_cache
from typing import Callable, List, Optional, Sequence

import numba
import numpy as np
import torch
from numba.cpython.unsafe.tuple import tuple_setitem
from torch import Tensor

from .dct import band_rows
from .frm import FLAT

# A product and a sum may become one instruction, but nothing is reordered.
_jit = numba.njit(nogil=True, error_model='numpy', fastmath={'contract'})
# The terms of one row of patches may be added in any order.
_jit_sum = numba.njit(
    nogil=True, error_model='numpy', fastmath={'contract', 'reassoc'})


def takes(x: Tensor, patch_size: int, block_size: int) -> bool:
    """Whether :func:`partial_sums` is to be called with these.

    The pixels of each channel must lie one after the other. Small batches
    would never make up for the seconds that the compilation takes.
    """
    return (x.dtype in (torch.float32, torch.bfloat16) and x.stride(3) == 1
            and x.stride(2) == x.size(3) and x.numel() >= 2**20)


def partial_sums(x: Tensor, patch_size: int, block_size: int, sigma: float,
                 metric: str) -> Tensor:
    """:func:`mwam_mm.mwam.frm.frm_parts`, to be added; the flip is of a block.

    The result does not depend on the number of threads, which is PyTorch's.
    The first call for a metric and a data type compiles for some seconds.

    Args:
        x (Tensor): float32 or bfloat16, see :func:`takes`.
        patch_size (int): p.
        block_size (int): q.
        sigma (float): Added to the denominator.
        metric (str): One of ``METRICS``.

    Returns:
        Tensor: Shape (2, B, rows of patches of all channels), float64.
    """
    b, c, h, w = x.shape
    # The first pixel of each row of patches.
    starts = np.add.outer(
        np.add.outer(np.arange(b) * x.stride(0), np.arange(c) * x.stride(1)),
        np.arange(h // patch_size) * patch_size * w).ravel()
    pixels = x.detach().as_strided((starts[-1] + patch_size * w, ), (1, ))
    if x.dtype == torch.bfloat16:
        pixels = pixels.view(torch.int16)
    sums = np.empty((2, len(starts)))
    kernel = _kernel(patch_size, block_size, metric, x.dtype)

    def run(part: slice) -> None:
        kernel(pixels.numpy(), starts[part], w, np.float32(sigma),
               sums[:, part])

    size = -(-len(starts) // torch.get_num_threads())
    _in_parallel(
        run, [slice(i, i + size) for i in range(0, len(starts), size)])
    return torch.from_numpy(sums).view(2, b, -1)


def _in_parallel(run: Callable, parts: Sequence) -> None:
    """Call ``run`` with every part, on as many of PyTorch's threads.

    For a while after an operator these wait actively for the next one, each
    on its core, which threads of our own would have to share with them.
    """
    todo = iter(parts)  # all threads take from it
    errors: List[BaseException] = []

    def work(_=None) -> None:
        try:
            for part in todo:
                run(part)
        except BaseException as error:  # ctypes would drop the error
            errors.append(error)

    region = _parallel_region()
    if region is None or len(parts) == 1:
        work()
    else:
        region(_Work(work), None, len(parts), 0)
    if errors:
        raise errors[0]


_Work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@lru_cache(maxsize=None)
def _parallel_region() -> Optional[Callable]:
    """The C function behind ``#pragma omp parallel`` in the OpenMP library
    that PyTorch is linked with; None if it is linked with none."""
    try:
        region = ctypes.CDLL(torch._C.__file__).GOMP_parallel
    except (AttributeError, OSError):
        return None
    region.argtypes = [_Work, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    region.restype = None
    return region


@lru_cache(maxsize=None)
def _kernel(p: int, q: int, metric: str, dtype: torch.dtype) -> Callable:
    """The loop for one size of patches, which the compiler unrolls."""
    # These are constants: first the low band's frequencies, then the high
    # one's.
    rows = band_rows(p, q).view(2 * q, p).float().numpy()
    is_even = rows[:, 0] * rows[:, -1] > 0
    read = _read_bfloat16 if dtype == torch.bfloat16 else _read_float32
    reduce = _reduction(metric)

    # A tuple stays in registers. The elements of an array would be read anew
    # after each store to another array, as it might be the same.
    patch_line = (np.float32(0), ) * p

    @_jit
    def product(k, line):
        total = np.float32(0)
        # Rows of the DCT are symmetric or antisymmetric. Besides half of the
        # products this spares a flat patch rounding errors, which are not
        # small beside sigma.
        for m in range(p // 2):
            first, last = line[m], line[p - 1 - m]
            total += rows[k, m] * (
                first + last if is_even[k] else first - last)
        if p % 2 and is_even[k]:
            total += rows[k, p // 2] * line[p // 2]
        return total

    @_jit
    def along_columns(strip, out):
        for i in range(out.shape[1]):
            line = patch_line
            for m in range(p):
                line = tuple_setitem(line, m, read(strip[m, i]))
            for k in range(2 * q):
                out[k, i] = product(k, line)

    @_jit
    def along_rows(strips, out):
        for k in range(2 * q):
            for i in range(out.shape[2]):
                line = patch_line
                for m in range(p):
                    line = tuple_setitem(line, m, strips[k, i * p + m])
                for v in range(q):
                    out[k, v, i] = product(k // q * q + v, line)

    @_jit
    def run(pixels, starts, width, sigma, sums):
        cols = width // p
        strips = np.empty((2 * q, cols * p), np.float32)
        bands = np.empty((2 * q, q, cols), np.float32)
        for i, start in enumerate(starts):
            strip = pixels[start:start + p * width].reshape(p, width)
            along_columns(strip, strips)
            along_rows(strips, bands)
            sums[0, i], sums[1, i] = reduce(bands[:q], bands[q:], sigma)

    return run


@_jit
def _read_float32(pixel):
    return pixel


@_jit
def _read_bfloat16(pixel):
    """It is the upper half of a float32; the sign is shifted out."""
    return np.uint32(np.uint32(pixel) << np.uint32(16)).view(np.float32)


def _reduction(metric: str) -> Callable:
    """Numerator and denominator of one row of patches, from its bands of
    shape (q, q, cols)."""
    if metric == 'robust':
        return _robust
    term = _TERMS[metric]

    @_jit_sum
    def mean(low, high, sigma):
        total = 0.
        for u in range(low.shape[0]):
            for v in range(low.shape[1]):
                row = np.float32(0)
                for i in range(low.shape[2]):
                    row += term(low[u, v, i], high[u, v, i], sigma)
                total += row
        return total, float(low.size)

    return mean


@_jit_sum
def _robust(low, high, sigma):
    q, _, cols = low.shape
    above = below = 0.
    for i in range(cols):
        low_sum = high_sum = np.float32(0)
        for j in range(1, q * q):  # without DC and its counterpart
            low_sum += abs(low[j // q, j % q, i])
            high_sum += abs(high[j // q, j % q, i])
        rest = low_sum + high_sum
        # NaN and Inf are not left out.
        if not (rest <= np.float32(FLAT) * abs(low[0, 0, i])
                and rest < np.inf):
            above += low_sum
            below += high_sum + np.float32(q * q - 1) * sigma
    return above, below


_TERMS = dict(
    ratio=_jit(lambda low, high, sigma: abs(low / (high + sigma))),
    low=_jit(lambda low, high, sigma: abs(low)),
    sum=_jit(lambda low, high, sigma: abs(low) + abs(high)),
    weighted_sum=_jit(lambda low, high, sigma: np.float32(0.9) * abs(low) +
                      np.float32(0.1) * abs(high)))
