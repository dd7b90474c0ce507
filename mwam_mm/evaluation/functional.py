"""Scores over modality combinations as pure functions.

A combination is named by its modalities joined with ``+``, e.g.
``'rgb+depth'``; scores are a mapping from combination to score, higher is
better. A score that is None, NaN or infinite is undefined, and so is all that
needs it: these functions then return None.
"""
from itertools import combinations
from math import isfinite
from typing import Mapping, Optional, Sequence

__all__ = ['average_pcr', 'combination_average', 'expectation', 'pcr']

Score = Optional[float]


def _defined(score: Score) -> bool:
    return score is not None and isfinite(score)


def _mean(values: Sequence[Score]) -> Score:
    if not values or not all(map(_defined, values)):
        return None
    return sum(values) / len(values)


def pcr(full: Score, incomplete: Score) -> Score:
    """Performance change rate of an incomplete combination (Eq. 26).

    .. math::
        PCR = 100 (A_{full} - A_{miss}) / A_{full}

    Args:
        full (float, optional): Score with all modalities.
        incomplete (float, optional): Score with some of them missing.

    Returns:
        float | None: The loss in percent of the full score; negative where
        the incomplete combination is better. None where a score is undefined
        or the full one is not positive.

    Examples:
        >>> pcr(80., 60.)
        25.0
        >>> pcr(80., 84.)
        -5.0
        >>> pcr(0., 0.) is None
        True
    """
    if not (_defined(full) and _defined(incomplete)) or full <= 0:
        return None
    return 100 * (full - incomplete) / full


def combination_average(scores: Mapping[str, Score]) -> Score:
    """Average score over the combinations, the full one INCLUDED.

    Args:
        scores (Mapping[str, float]): Combination to score.

    Returns:
        float | None: Their mean; None where there is none or one is
        undefined.

    Examples:
        >>> scores = {'rgb+depth': 47.51, 'rgb': 41.30, 'depth': 38.79}
        >>> round(combination_average(scores), 2)
        42.53
    """
    return _mean(list(scores.values()))


def average_pcr(scores: Mapping[str, Score], full: str) -> Score:
    """Average PCR over the combinations, the full one EXCLUDED.

    Args:
        scores (Mapping[str, float]): Combination to score.
        full (str): Name of the full combination.

    Returns:
        float | None: The mean PCR in percent; None where ``full`` is not
        among the scores, nothing else is, or a PCR is undefined.

    Examples:
        >>> scores = {'rgb+depth': 47.51, 'rgb': 41.30, 'depth': 38.79}
        >>> round(average_pcr(scores, 'rgb+depth'), 2)
        15.71
    """
    return _mean([
        pcr(scores.get(full), score) for name, score in scores.items()
        if name != full
    ])


def expectation(scores: Mapping[str, Score], modalities: Sequence[str],
                drop_prob: float) -> Score:
    r"""Expected score when each modality is missing independently (EMM).

    .. math::
        E = \frac{\sum_S w_S A_S}{\sum_S w_S}, \quad
        w_S = p^{M - |S|} (1 - p)^{|S|}

    over the non-empty subsets S of the M modalities.

    Args:
        scores (Mapping[str, float]): Combination to score, with the
            modalities of a name in any order.
        modalities (Sequence[str]): All modalities.
        drop_prob (float): Probability p in [0, 1) that one is missing.

    Returns:
        float | None: The expected score; None where a subset has no score or
        an undefined one.

    Raises:
        ValueError: If ``drop_prob`` is not in [0, 1).

    Examples:
        >>> scores = {'rgb+depth': 47.51, 'rgb': 41.30, 'depth': 38.79}
        >>> expectation(scores, ['rgb', 'depth'], drop_prob=0.)
        47.51
        >>> round(expectation(scores, ['rgb', 'depth'], drop_prob=0.2), 2)
        45.02
    """
    if not 0 <= drop_prob < 1:
        raise ValueError(f'drop_prob must be in [0, 1), but got {drop_prob}')
    by_subset = {
        frozenset(name.split('+')): score
        for name, score in scores.items()
    }
    total = weights = 0.
    for size in range(1, len(modalities) + 1):
        weight = drop_prob**(len(modalities) - size) * (1 - drop_prob)**size
        for subset in combinations(modalities, size):
            score = by_subset.get(frozenset(subset))
            if not _defined(score):
                return None
            total += weight * score
            weights += weight
    return total / weights
