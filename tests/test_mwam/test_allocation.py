"""Allocation against Eqs. 5 and 6 written out."""
import math

import pytest
import torch

from mwam_mm.mwam import allocate


def equation(values, alpha, beta, lam, gamma, sigma):
    mean = sum(values) / len(values)
    return [
        alpha - beta / (1 + math.exp(-lam * (v / (mean + sigma) - gamma)))
        for v in values
    ]


@pytest.mark.parametrize('values', [[3.], [1., 1.], [2., 200.],
                                    [1e-6, 5., 1e6], [0., 0.],
                                    [4., 3., 2., 1., .5]])
@pytest.mark.parametrize('constants', [
    dict(alpha=1.5, beta=1.0, lam=6.0, gamma=0.7, sigma=1e-6),
    dict(alpha=2.0, beta=1.5, lam=6.5, gamma=1.3, sigma=1e-3),
    dict(alpha=1.0, beta=1.0, lam=6.0, gamma=0.7, sigma=1e-6),
    dict(alpha=0.5, beta=0.0, lam=6.0, gamma=0.7, sigma=1e-6),
])
def test_equals_the_formula(values, constants):
    k = allocate(torch.tensor(values, dtype=torch.float64), **constants)
    assert k.tolist() == pytest.approx(equation(values, **constants), abs=1e-9)
    k = allocate(torch.tensor(values), **constants)
    assert k.tolist() == pytest.approx(equation(values, **constants), abs=1e-6)


def test_defaults_are_the_papers():
    values = [1., 3.]
    assert allocate(torch.tensor(values)).tolist() == pytest.approx(
        equation(values, 1.5, 1.0, 6.0, 0.7, 1e-6), abs=1e-6)


def test_the_preferred_modality_gets_the_smaller_weight():
    k = allocate(torch.tensor([10., 1.]))
    assert 0.5 < k[0] < 0.6 and 1.4 < k[1] < 1.5


@pytest.mark.parametrize('frm', [torch.ones(2, 2), torch.tensor(1.),
                                 torch.ones(0)])
def test_wrong_shape(frm):
    with pytest.raises(ValueError, match='shape'):
        allocate(frm)


def test_weights_cannot_be_negative():
    with pytest.raises(ValueError, match='beta'):
        allocate(torch.ones(2), alpha=1., beta=2.)
    with pytest.raises(ValueError, match='alpha=inf'):
        allocate(torch.ones(2), alpha=math.inf)
