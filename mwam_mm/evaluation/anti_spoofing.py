"""Error rates of face anti-spoofing as pure functions."""
from typing import Dict, Sequence

import numpy as np

__all__ = ['attack_error_rates', 'tpr_at_fpr']


def attack_error_rates(scores: Sequence[float],
                       labels: Sequence[bool],
                       threshold: float = 0.5) -> Dict[str, float]:
    """Error rates of accepting what looks real (ISO/IEC 30107-3).

    Args:
        scores (Sequence[float]): How real each sample looks, (N, ).
        labels (Sequence[bool]): Whether it is real, (N, ).
        threshold (float): Scores above it are accepted. Defaults to 0.5.

    Returns:
        dict[str, float]: Between 0 and 1: ``APCER``, the share of attacks that
        are accepted, ``BPCER``, the share of real ones that are not, and
        ``ACER``, their mean. NaN where there are none of them.

    Examples:
        >>> attack_error_rates([0.9, 0.8, 0.1, 0.2], [1, 0, 0, 1])
        {'APCER': 0.5, 'BPCER': 0.5, 'ACER': 0.5}
    """
    accepted = np.asarray(scores, float) > threshold
    real = np.asarray(labels, bool)
    apcer = accepted[~real].mean() if (~real).any() else np.nan
    bpcer = (~accepted[real]).mean() if real.any() else np.nan
    return dict(
        APCER=float(apcer), BPCER=float(bpcer), ACER=float(apcer + bpcer) / 2)


def tpr_at_fpr(scores: Sequence[float], labels: Sequence[bool],
               fpr: float) -> float:
    """Share of real samples accepted when few attacks may be.

    Args:
        scores (Sequence[float]): How real each sample looks, (N, ).
        labels (Sequence[bool]): Whether it is real, (N, ).
        fpr (float): Share of attacks that may be accepted, in [0, 1].

    Returns:
        float: The highest true positive rate of all thresholds with at most
        this false positive rate, between 0 and 1, without interpolation. NaN
        where there are no attacks or no real samples.

    Raises:
        ValueError: If ``fpr`` is not in [0, 1].

    Examples:
        >>> tpr_at_fpr([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], fpr=0.)
        0.5
        >>> tpr_at_fpr([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], fpr=0.5)
        1.0
    """
    if not 0 <= fpr <= 1:
        raise ValueError(f'fpr must be in [0, 1], but got {fpr}')
    scores = np.asarray(scores, float)
    real = np.asarray(labels, bool)
    attacks = np.sort(scores[~real])[::-1]
    if not len(attacks) or not real.any():
        return float('nan')
    allowed = int(fpr * len(attacks) + 1e-9)  # 0.29 * 100 is below 29
    if allowed == len(attacks):
        return 1.
    return float((scores[real] > attacks[allowed]).mean())
