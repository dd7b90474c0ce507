"""Modality dropout whose probabilities follow K."""
from itertools import combinations
from math import prod
from typing import Dict, Sequence, Tuple


def dropout_probabilities(
        weights: Sequence[float]) -> Dict[Tuple[int, ...], float]:
    r"""The probability of each non-empty subset of the modalities.

    The complete set keeps the share that uniform dropout gives it,
    :math:`1 / (2^M - 1)`. The other subsets share the rest in proportion to
    the mean of K over their modalities, so a preferred modality, whose K is
    small, is left out more often, and a neglected one stands alone more often.

    Args:
        weights (Sequence[float]): K of the M modalities that may be kept.

    Returns:
        dict[tuple[int, ...], float]: The indices of the modalities that are
        kept to the probability of keeping just them.

    Raises:
        ValueError: If there is no weight, or one is negative.

    Examples:
        >>> p = dropout_probabilities([1.5, 0.5])
        >>> {kept: round(value, 4) for kept, value in p.items()}
        {(0, 1): 0.3333, (0,): 0.5, (1,): 0.1667}
    """
    if not len(weights) or min(weights) < 0:
        raise ValueError('dropout_probabilities takes the non-negative weight '
                         f'of one modality or more, but got {weights}')
    everything = tuple(range(len(weights)))
    share = 1 / (2**len(weights) - 1)
    parts = [
        kept for size in range(len(weights) - 1, 0, -1)
        for kept in combinations(everything, size)
    ]
    means = [sum(weights[i] for i in kept) / len(kept) for kept in parts]
    if not any(means):
        means = [1.] * len(parts)
    rest = (1 - share) / sum(means) if parts else 0.
    return {everything: share, **{
        kept: rest * mean for kept, mean in zip(parts, means)}}


def keep_probabilities(
        weights: Sequence[float]) -> Dict[Tuple[int, ...], float]:
    r"""The probability of each non-empty subset of the modalities, where each
    is kept with a probability of its own.

    Args:
        weights (Sequence[float]): K of the M modalities that may be kept: the
            probability of keeping each, where more than 1 counts as 1.

    Returns:
        dict[tuple[int, ...], float]: The indices of the modalities that are
        kept to the probability of keeping just them. What would keep none
        keeps all.

    Raises:
        ValueError: If there is no weight, or one is negative.

    Examples:
        >>> p = keep_probabilities([0.6, 1.2])
        >>> {kept: round(value, 4) for kept, value in p.items()}
        {(0, 1): 0.6, (0,): 0.0, (1,): 0.4}
    """
    if not len(weights) or min(weights) < 0:
        raise ValueError('keep_probabilities takes the non-negative weight '
                         f'of one modality or more, but got {weights}')
    keep = [min(k, 1.) for k in weights]
    everything = tuple(range(len(keep)))
    probabilities = {
        kept: prod(k if i in kept else 1 - k for i, k in enumerate(keep))
        for size in range(len(keep), 0, -1)
        for kept in combinations(everything, size)
    }
    probabilities[everything] += prod(1 - k for k in keep)
    return probabilities
