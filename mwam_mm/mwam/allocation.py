"""From the modalities' FRM to the weights K."""
import math
from typing import Dict

import torch
from torch import Tensor


def check_range(alpha: float, beta: float) -> None:
    """Raise ValueError if the weights could be negative or not finite."""
    if not 0 <= beta <= alpha < math.inf:
        raise ValueError('K lies in (alpha - beta, alpha), so 0 <= beta <= '
                         f'alpha < inf, but got alpha={alpha}, beta={beta}')


def sigmoid_weights(t: Tensor, alpha: float, beta: float, lam: float,
                    gamma: float) -> Tensor:
    """Eq. 5: the weights from the relative preference ``t``, elementwise."""
    return alpha - beta * torch.sigmoid(lam * (t - gamma))


def adaptive_constants(t: Tensor, known: Tensor) -> Dict[str, Tensor]:
    r"""Constants of Eq. 5 from how far the modalities are apart.

    With s, the standard deviation of T over the modalities, and its mean t,

    .. math::
        \beta = \min(s, 1), \quad \alpha = 1 + \beta / 2, \quad
        \gamma = t, \quad \lambda = \ln 9 / s,

    K is 1 for a modality of mean preference and for all of them when they are
    alike; one that is s above or below the mean gets a tenth or nine tenths
    of the range, which is as wide as the modalities are apart.

    Args:
        t (Tensor): T of shape (M,).
        known (Tensor): bool of shape (M,), which of them count.

    Returns:
        dict[str, Tensor]: ``alpha``, ``beta``, ``lam`` and ``gamma``, 0-d.
    """
    number = known.sum().clamp(min=1)
    mean = torch.where(known, t, 0.).sum() / number
    variance = torch.where(known, (t - mean)**2, 0.).sum() / number
    spread = variance.sqrt()
    beta = spread.clamp(max=1)
    # Rounding makes modalities that are alike differ a little.
    lam = math.log(9) / spread.clamp(min=1e-6)
    return dict(alpha=1 + beta / 2, beta=beta, lam=lam, gamma=mean)


def allocate(frm: Tensor,
             alpha: float = 1.5,
             beta: float = 1.0,
             lam: float = 6.0,
             gamma: float = 0.7,
             sigma: float = 1e-6) -> Tensor:
    r"""Weights inverse to the modalities' preference.

    .. math::
        T_m = \frac{FRM_m}{\operatorname{mean}_n FRM_n + \sigma}, \qquad
        K_m = \alpha - \frac{\beta}{1 + e^{-\lambda (T_m - \gamma)}}

    (Eqs. 6 and 5).

    Args:
        frm (Tensor): Metric per modality, shape (M,), M >= 1.
        alpha (float): Upper end of K. Defaults to 1.5.
        beta (float): Width of K's range. Defaults to 1.0.
        lam (float): Steepness. Defaults to 6.0.
        gamma (float): The T in the middle of the range. Defaults to 0.7.
        sigma (float): Added to the mean. Defaults to 1e-6.

    Returns:
        Tensor: K of shape (M,), in (alpha - beta, alpha).

    Raises:
        ValueError: If ``frm`` is not a non-empty vector, or ``0 <= beta <=
            alpha`` does not hold.

    Examples:
        >>> import torch
        >>> allocate(torch.tensor([1., 1., 1.]))
        tensor([0.6419, 0.6419, 0.6419])
    """
    check_range(alpha, beta)
    if frm.ndim != 1 or not len(frm):
        raise ValueError('allocate takes one value per modality, shape (M,), '
                         f'but got {tuple(frm.shape)}')
    t = frm / (frm.mean() + sigma)
    return sigmoid_weights(t, alpha, beta, lam, gamma)
