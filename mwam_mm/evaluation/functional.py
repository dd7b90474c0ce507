"""Scores over modality combinations as pure functions.

A combination is named by its modalities joined with ``+``, e.g.
``'rgb+depth'``; scores are a mapping from combination to score. A score that
is None, NaN or infinite is undefined, and so is everything that needs it:
these functions then return None.
"""
import re
from itertools import combinations
from math import isfinite
from typing import Mapping, Optional, Sequence

__all__ = [
    'average_pcr', 'combination_average', 'expectation', 'is_higher_better',
    'pcr'
]

Score = Optional[float]

# Words of metric names that say which way a metric goes.
_HIGHER = frozenset("""
    iou miou fwiou acc macc aacc accuracy top ap map ar mar dice mdice fscore
    mfscore f1 fbeta precision mprecision recall mrecall sensitivity
    specificity pq sq rq auc auroc auprc roc kappa mcc r2 ji jaccard psnr ssim
    d1 d2 d3 delta1 delta2 delta3 nds mota hota idf1 tpr tnr tar
""".split())
_LOWER = frozenset("""
    loss losses error errors err mae mse rmse msle rmsle mape imae irmse
    absrel sqrel log10 silog eer acer apcer bpcer hter ber frr fpr fnr lamr mmr
    fid kid lpips hausdorff hd asd assd epe ece brier nll ppl perplexity wer
    cer time latency
""".split())
_HIGHER_ENDINGS = ('iou', 'accuracy', 'precision', 'recall', 'dice')
_LOWER_ENDINGS = ('error', 'loss')


def is_higher_better(
        metric: str,
        given: Optional[Mapping[str, bool]] = None) -> Optional[bool]:
    """Whether a higher value of a metric is better.

    Args:
        metric (str): Name as the evaluator gives it, with or without a
            prefix, e.g. ``'mIoU'`` or ``'coco/bbox_mAP_50'``.
        given (Mapping[str, bool], optional): Metric to the answer, which
            counts before what the name says. Defaults to None.

    Returns:
        bool | None: True or False where ``given`` or the name says so:
        mIoU, aAcc, Dice, mAP, accuracy, ... and MAE, RMSE, abs_rel, ACER,
        EER, loss, .... None where neither does, or the name says both, such
        as ``'iou_loss'``.

    Examples:
        >>> is_higher_better('coco/bbox_mAP_50'), is_higher_better('val/MAE')
        (True, False)
        >>> is_higher_better('roughness') is None
        True
        >>> is_higher_better('roughness', {'roughness': False})
        False
    """
    if given and metric in given:
        return given[metric]
    # What follows @ is where the metric is taken, as in AR@100 or TAR@FAR.
    name = metric.split('@')[0].lower().replace('_rel', 'rel')
    words = re.findall('[a-z0-9]+', name)
    words += [word.rstrip('0123456789') for word in words]
    higher = any(w in _HIGHER or w.endswith(_HIGHER_ENDINGS) for w in words)
    lower = any(w in _LOWER or w.endswith(_LOWER_ENDINGS) for w in words)
    return None if higher == lower else higher


def _defined(score: Score) -> bool:
    return score is not None and isfinite(score)


def _mean(values: Sequence[Score]) -> Score:
    if not values or not all(map(_defined, values)):
        return None
    return sum(values) / len(values)


def pcr(full: Score,
        incomplete: Score,
        higher_is_better: bool = True) -> Score:
    r"""Performance change rate of an incomplete combination (Eq. 26).

    .. math::
        PCR = 100 \frac{A_{full} - A_{miss}}{A_{full}} \quad
        \text{or, where lower is better,} \quad
        100 \frac{A_{miss} - A_{full}}{A_{full}}

    Args:
        full (float, optional): Score with all modalities.
        incomplete (float, optional): Score with some of them missing.
        higher_is_better (bool): Whether a higher score is better. Defaults to
            True.

    Returns:
        float | None: How much worse the incomplete combination is, in percent
        of the full score; negative where it is better. None where a score is
        undefined or the full one is not positive.

    Raises:
        TypeError: If ``higher_is_better`` is no boolean.

    Examples:
        >>> pcr(80., 60.)
        25.0
        >>> pcr(80., 84.)
        -5.0
        >>> pcr(2., 6., higher_is_better=False)  # a mean error
        200.0
        >>> pcr(0., 0.) is None
        True
    """
    if not isinstance(higher_is_better, bool):
        raise TypeError('higher_is_better must be True or False, but got '
                        f'{higher_is_better!r}')
    if not (_defined(full) and _defined(incomplete)) or full <= 0:
        return None
    worse = full - incomplete if higher_is_better else incomplete - full
    return 100 * worse / full


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


def average_pcr(scores: Mapping[str, Score],
                full: str,
                higher_is_better: bool = True,
                full_scores: Mapping[str, Score] = {}) -> Score:
    """Average PCR over the combinations, the full one EXCLUDED.

    Args:
        scores (Mapping[str, float]): Combination to score.
        full (str): Name of the full combination.
        higher_is_better (bool): Whether a higher score is better. Defaults to
            True.
        full_scores (Mapping[str, float]): Combination that has fewer samples
            to the score of the full one on those. Defaults to none.

    Returns:
        float | None: The mean PCR in percent; None where ``full`` is not
        among the scores, nothing else is, or a PCR is undefined.

    Raises:
        TypeError: If ``higher_is_better`` is no boolean.

    Examples:
        >>> scores = {'rgb+depth': 47.51, 'rgb': 41.30, 'depth': 38.79}
        >>> round(average_pcr(scores, 'rgb+depth'), 2)
        15.71
    """
    return _mean([
        pcr(full_scores.get(name, scores.get(full)), score, higher_is_better)
        for name, score in scores.items() if name != full
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
