"""Error rates of face anti-spoofing."""
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve

from mwam_mm.evaluation import (
    attack_error_rates,
    is_higher_better,
    tpr_at_fpr,
)
from mwam_mm.registry import METRICS


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    labels = rng.random(400) < 0.4
    # rounded, so that there are ties
    scores = np.clip(rng.normal(0.35 + 0.3 * labels, 0.2), 0, 1).round(2)
    return scores, labels


def test_error_rates(answers):
    scores, labels = answers
    rates = attack_error_rates(scores, labels, 0.5)
    attacks = [s for s, real in zip(scores, labels) if not real]
    reals = [s for s, real in zip(scores, labels) if real]
    apcer = sum(s > 0.5 for s in attacks) / len(attacks)
    bpcer = sum(s <= 0.5 for s in reals) / len(reals)
    assert rates == pytest.approx(
        dict(APCER=apcer, BPCER=bpcer, ACER=(apcer + bpcer) / 2))


@pytest.mark.parametrize('fpr', [0, 0.001, 0.01, 0.1, 0.5, 1])
def test_tpr_at_fpr_is_the_best_of_the_curve(answers, fpr):
    curve = roc_curve(answers[1], answers[0], drop_intermediate=False)
    expected = max(t for f, t in zip(*curve[:2]) if f <= fpr + 1e-12)
    assert tpr_at_fpr(*answers, fpr) == pytest.approx(expected)


def test_undefined_without_attacks_or_real_samples():
    assert np.isnan(tpr_at_fpr([0.1, 0.9], [1, 1], 0.1))
    rates = attack_error_rates([0.1, 0.9], [0, 0])
    assert rates['APCER'] == 0.5
    assert np.isnan(rates['BPCER']) and np.isnan(rates['ACER'])
    with pytest.raises(ValueError, match='but got 2'):
        tpr_at_fpr([0.1], [1], 2)


def test_metric_is_in_percent_of_the_class_of_real_samples(answers):
    scores, labels = answers
    metric = METRICS.build(
        dict(type='mwam_mm.AntiSpoofingMetric', real=0, fpr=[0.1]))
    metric.process(None, [
        dict(
            pred_score=torch.tensor([s, 1 - s]),
            gt_label=torch.tensor([0 if real else 1]))
        for s, real in zip(scores, labels)
    ])
    found = metric.evaluate(len(scores))
    rates = attack_error_rates(scores.astype(np.float32), labels)
    assert found == pytest.approx({
        'spoofing/ACER': 100 * rates['ACER'],
        'spoofing/APCER': 100 * rates['APCER'],
        'spoofing/BPCER': 100 * rates['BPCER'],
        'spoofing/TPR@FPR=0.1': 100 * tpr_at_fpr(scores, labels, 0.1)
    })
    # so the table knows which way they go
    assert [is_higher_better(key) for key in found] == [
        False, False, False, True]
