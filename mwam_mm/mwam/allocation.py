"""From the modalities' FRM to the weights K."""
import math

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
