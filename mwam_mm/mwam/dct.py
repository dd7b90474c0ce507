"""The frequencies of the discrete cosine transform (DCT) that FRM needs."""
import math

import torch
from torch import Tensor


def band_rows(patch_size: int, block_size: int) -> Tensor:
    """Rows of the orthonormal DCT-II matrix for the low and the high band.

    Args:
        patch_size (int): Side p of the patches.
        block_size (int): Side q of the bands.

    Returns:
        Tensor: Shape (2, q, p), float64. The lowest frequencies in rising and
        the highest in falling order, which is the flip inside a block.
    """
    n = torch.arange(patch_size, dtype=torch.float64)
    rows = torch.cos(math.pi * (2 * n + 1) * n[:, None] / (2 * patch_size))
    rows *= math.sqrt(2 / patch_size)
    rows[0] /= math.sqrt(2)
    return torch.stack([rows[:block_size], rows.flip(0)[:block_size]])
