"""The frequency ratio metric as one kernel for CUDA devices.

Importing this module imports Triton: do so where a device wants it only.
"""
from functools import lru_cache
from typing import Tuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .dct import band_rows
from .frm import FLAT

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# A thread loads 4 columns or more of all rows of its patches; of larger ones
# than these they would not fit into its registers.
PATCH_SIZES = (2, 4, 8, 16, 32)
# Every pair of frequencies adds to the code of the kernel.
MAX_BLOCK_SIZE = 4
# A program has one warp, so that its sum needs no shared memory.
NUM_WARPS = 1
# The second dimension of a grid has no room for more.
_MAX_SAMPLES = 65535


@lru_cache(maxsize=None)
def dct_rows(patch_size: int, block_size: int, device: torch.device) -> Tensor:
    """The rows of :func:`band_rows`, shape (2, q, p)."""
    # The host waits for the copy, so that any stream may use them.
    return band_rows(patch_size, block_size).float().to(device)


def patches_per_program(patch_size: int) -> int:
    """How many patches a program measures: of 128 pixels a thread at most."""
    return min(4096 // patch_size, 1024) // patch_size


def grid(x: Tensor, patch_size: int) -> Tuple[int, int, int, int]:
    """How the patches of an image are shared out.

    Args:
        x (Tensor): Shape (B, C, H, W).
        patch_size (int): Side p of the patches.

    Returns:
        tuple[int]: Number of programs for a sample, and of patches of a
        sample, of a channel and of a row of patches.
    """
    _, channels, height, width = x.shape
    per_row = width // patch_size
    per_channel = height // patch_size * per_row
    per_sample = channels * per_channel
    programs = -(-per_sample // patches_per_program(patch_size))
    return programs, per_sample, per_channel, per_row


@triton.jit
def _vertical(pixels, stride, row, FREQUENCY: tl.constexpr,
              SIZE: tl.constexpr):
    """One frequency of the columns of all patches.

    Args:
        pixels: Pointers to the first row of each patch.
        stride: Between two rows.
        row: Pointer to the row of the DCT.
    """
    total = 0.
    for i in tl.static_range(SIZE // 2):
        # The same for each frequency: the compiler loads them once.
        top = tl.load(pixels + i * stride).to(tl.float32)
        bottom = tl.load(pixels + (SIZE - 1 - i) * stride).to(tl.float32)
        # The rows are symmetric and antisymmetric in turn. Besides half of
        # the products this saves a flat patch from rounding errors, which
        # are not small beside sigma.
        if FREQUENCY % 2 == 0:
            pair = top + bottom
        else:
            pair = top - bottom
        total += tl.load(row + i) * pair
    return total


@triton.jit
def patch_sums(x, index, sample, rows, patches_per_channel, patches_per_row,
               sample_stride, channel_stride, row_stride, column_stride,
               sigma, METRIC: tl.constexpr, SIZE: tl.constexpr,
               BLOCK: tl.constexpr, FLAT: tl.constexpr,
               NUM_PATCHES: tl.constexpr):
    """Numerator and denominator of each of some patches of a sample.

    Args:
        x: Pointer to the input.
        index: Of each patch, shape (NUM_PATCHES, ). Patches are counted along
            the columns, then the rows, then the channels.
        sample: The sample that the patches are of.
        rows: Pointer to :func:`dct_rows`.
    """
    channel = index // patches_per_channel
    row = index % patches_per_channel // patches_per_row
    column = index % patches_per_row
    # A tensor may have more elements than 32 bits tell apart.
    start = (
        sample.to(tl.int64) * sample_stride +
        channel.to(tl.int64) * channel_stride +
        row.to(tl.int64) * SIZE * row_stride +
        column.to(tl.int64) * SIZE * column_stride)
    n = tl.arange(0, SIZE)
    pixels = x + start[:, None] + (n * column_stride)[None, :]
    # Spread over the patches as the pixels are, lest it be rearranged.
    horizontal = rows + (index * 0)[:, None] + n[None, :]

    numerator = tl.zeros([NUM_PATCHES], tl.float32)
    denominator = tl.zeros([NUM_PATCHES], tl.float32)
    dc = numerator
    for u in tl.static_range(BLOCK):
        low_columns = _vertical(pixels, row_stride, rows + u * SIZE, u, SIZE)
        high_columns = _vertical(pixels, row_stride,
                                 rows + (BLOCK + u) * SIZE, SIZE - 1 - u,
                                 SIZE)
        for v in tl.static_range(BLOCK):
            low_row = tl.load(horizontal + v * SIZE)
            high_row = tl.load(horizontal + (BLOCK + v) * SIZE)
            low = tl.sum(low_columns * low_row, 1)
            high = tl.sum(high_columns * high_row, 1)
            if METRIC == 'ratio':
                numerator += tl.abs(low / (high + sigma))
            elif METRIC == 'low':
                numerator += tl.abs(low)
            elif METRIC == 'sum':
                numerator += tl.abs(low) + tl.abs(high)
            elif METRIC == 'weighted_sum':
                numerator += 0.9 * tl.abs(low) + 0.1 * tl.abs(high)
            elif u + v == 0:  # 'robust' leaves out DC and its counterpart
                dc = tl.abs(low)
            else:
                numerator += tl.abs(low)
                denominator += tl.abs(high)
    if METRIC == 'robust':
        rest = numerator + denominator
        # Inf, which is not above Inf, must be seen, as must NaN.
        flat = (rest <= FLAT * dc) & (rest < float('inf'))
        denominator += (BLOCK * BLOCK - 1) * sigma
        numerator = tl.where(flat, 0., numerator)
        denominator = tl.where(flat, 0., denominator)
    else:
        denominator += BLOCK * BLOCK
    return numerator, denominator


@triton.jit(do_not_specialize=[
    'num_patches', 'patches_per_channel', 'patches_per_row'
])
def _frm_kernel(x, rows, sums, num_patches, patches_per_channel,
                patches_per_row, sample_stride, channel_stride, row_stride,
                column_stride, sigma, METRIC: tl.constexpr,
                SIZE: tl.constexpr, BLOCK: tl.constexpr, FLAT: tl.constexpr,
                NUM_PATCHES: tl.constexpr):
    """Numerator and denominator of some patches of a sample.

    Args:
        x: Pointer to the input.
        rows: Pointer to :func:`dct_rows`.
        sums: Pointer to the result, shape (2, samples, programs).
        num_patches: Of a sample.
        NUM_PATCHES: Of a program.
    """
    program = tl.program_id(0)
    sample = tl.program_id(1)
    index = program * NUM_PATCHES + tl.arange(0, NUM_PATCHES)
    # What is too much repeats the last patch and does not count.
    counts = index < num_patches
    index = tl.minimum(index, num_patches - 1)
    numerator, denominator = patch_sums(
        x, index, sample, rows, patches_per_channel, patches_per_row,
        sample_stride, channel_stride, row_stride, column_stride, sigma,
        METRIC, SIZE, BLOCK, FLAT, NUM_PATCHES)
    # In a place of its own, so that the order of the sum is fixed.
    sums += sample * tl.num_programs(0) + program
    total = tl.sum(tl.where(counts, numerator, 0.), 0)
    tl.store(sums, total.to(tl.float64))
    total = tl.sum(tl.where(counts, denominator, 0.), 0)
    tl.store(sums + tl.num_programs(0) * tl.num_programs(1),
             total.to(tl.float64))


def try_out() -> None:
    """Raise whatever keeps the kernel from running on this machine."""
    x = torch.zeros(1, 1, 8, 8, device='cuda')
    if takes(x, 8, 2):
        partial_sums(x, 8, 2, 1e-6, 'ratio')


def takes(x: Tensor, patch_size: int, block_size: int) -> bool:
    """Whether :func:`partial_sums` is to be called with these.

    Triton compiles for Ampere and later devices.
    """
    return (x.is_cuda and x.dtype in DTYPES and patch_size in PATCH_SIZES
            and block_size <= MAX_BLOCK_SIZE and 0 < len(x) <= _MAX_SAMPLES
            and torch.cuda.get_device_capability(x.device) >= (8, 0))


def partial_sums(x: Tensor, patch_size: int, block_size: int, sigma: float,
                 metric: str) -> Tensor:
    """:func:`mwam_mm.mwam.frm.frm_parts`, to be added; the flip is of a block.

    It reads the input once, whatever its strides, and neither copies it nor
    waits for the device. The result does not vary from call to call.

    Args:
        x (Tensor): float32, float16 or bfloat16, see :func:`takes`.
        patch_size (int): Side p of the patches.
        block_size (int): Side q of the bands.
        sigma (float): Added to the denominator.
        metric (str): See :func:`frm`.

    Returns:
        Tensor: Shape (2, B, programs), float64.
    """
    programs, *num_patches = grid(x, patch_size)
    sums = x.new_empty((2, len(x), programs), dtype=torch.float64)
    # Triton launches on the current device.
    with torch.cuda.device_of(x):
        _frm_kernel[programs, len(x)](
            x,
            dct_rows(patch_size, block_size, x.device),
            sums,
            *num_patches,
            *x.stride(),
            sigma,
            METRIC=metric,
            SIZE=patch_size,
            BLOCK=block_size,
            FLAT=FLAT,
            NUM_PATCHES=patches_per_program(patch_size),
            num_warps=NUM_WARPS,
            # Its default changes with Triton 3.10.
            enable_fp_fusion=True)
    return sums
