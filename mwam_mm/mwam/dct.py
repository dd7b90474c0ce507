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


def spectrum(x: Tensor, patch_size: int = 8) -> Tensor:
    """Mean size of the DCT coefficients by frequency.

    Args:
        x (Tensor): Shape (B, C, H, W), float. Rows and columns beyond the
            last whole patch do not count.
        patch_size (int): Side p of the patches. Defaults to 8.

    Returns:
        Tensor: Shape (2p - 1, ), float64. Entry n is the mean over samples,
        channels and patches of the absolute coefficients whose vertical and
        horizontal frequency add up to n; entry 0 is DC.

    Raises:
        ValueError: If ``x`` has no whole patch.

    Examples:
        >>> flat = torch.ones(1, 3, 16, 16)
        >>> spectrum(flat).round().tolist()[:3]
        [8.0, 0.0, 0.0]
    """
    p = patch_size
    rows, cols = (size // p for size in x.shape[2:])
    if not rows * cols:
        raise ValueError(f'a spectrum needs at least one patch of {p} x {p}, '
                         f'but the input is of shape {tuple(x.shape)}')
    basis = band_rows(p, p)[0].to(x.device)
    patches = x[..., :rows * p, :cols * p].double()
    patches = patches.unflatten(3, (cols, p)).unflatten(2, (rows, p))
    sizes = torch.einsum('up,bcrpsq,vq->uvbcrs', basis, patches,
                         basis).abs().mean((2, 3, 4, 5))
    n = torch.arange(p, device=x.device)
    n = (n + n[:, None]).flatten()
    return torch.bincount(n, sizes.flatten()) / torch.bincount(n)
