"""The frequencies of the discrete cosine transform (DCT) that FRM needs."""
import math

import torch
from torch import Tensor


def num_bands(patch_size: int, block_size: int) -> int:
    """How many bands of q frequencies lie below the high band, the low one
    included; 1 where these two overlap."""
    return max((patch_size - block_size) // block_size, 1)


def band_rows(patch_size: int, block_size: int, band: int = 0) -> Tensor:
    """Rows of the orthonormal DCT-II matrix for a band and the high band.

    Args:
        patch_size (int): Side p of the patches.
        block_size (int): Side q of the bands.
        band (int): Which band, of :func:`num_bands`. Defaults to 0, the low
            one.

    Returns:
        Tensor: Shape (2, q, p), float64. The band's frequencies in rising and
        the highest in falling order, which is the flip inside a block.
    """
    n = torch.arange(patch_size, dtype=torch.float64)
    rows = torch.cos(math.pi * (2 * n + 1) * n[:, None] / (2 * patch_size))
    rows *= math.sqrt(2 / patch_size)
    rows[0] /= math.sqrt(2)
    first = band * block_size
    return torch.stack(
        [rows[first:first + block_size], rows.flip(0)[:block_size]])
