"""Dropout probabilities in closed form."""
import pytest

from mwam_mm.mwam import dropout_probabilities
from mwam_mm.mwam.dropout import keep_probabilities


def test_two_modalities():
    assert dropout_probabilities([1.5, 0.5]) == pytest.approx({
        (0, 1): 1 / 3,
        (0, ): 1 / 2,
        (1, ): 1 / 6
    })


def test_three_modalities():
    p = dropout_probabilities([1.4, 0.6, 1.0])
    means = {
        (0, 1): 1.0, (0, 2): 1.2, (1, 2): 0.8, (0, ): 1.4, (1, ): 0.6,
        (2, ): 1.0
    }
    expected = {kept: 6 / 7 * m / 6.0 for kept, m in means.items()}
    assert p == pytest.approx({(0, 1, 2): 1 / 7, **expected})
    assert sum(p.values()) == pytest.approx(1)


@pytest.mark.parametrize('count', (1, 2, 3, 4))
@pytest.mark.parametrize('k', (0., 1.))
def test_equal_weights_are_uniform_dropout(count, k):
    p = dropout_probabilities([k] * count)
    assert len(p) == 2**count - 1
    assert set(map(lambda x: round(x, 9), p.values())) == {
        round(1 / (2**count - 1), 9)
    }


@pytest.mark.parametrize('weights', ([], [1., -1.]))
def test_wrong_weights(weights):
    with pytest.raises(ValueError, match='non-negative'):
        dropout_probabilities(weights)


def test_each_modality_by_itself():
    """0.8 0.5, 0.8 0.5, 0.2 0.5, and what is left for none goes to all."""
    p = keep_probabilities([0.8, 0.5])
    assert p == pytest.approx({(0, 1): 0.4 + 0.1, (0, ): 0.4, (1, ): 0.1})
    # K of more than 1 keeps always.
    p = keep_probabilities([0.6, 1.5, 0.5])
    assert p == pytest.approx({
        (0, 1, 2): 0.3, (0, 1): 0.3, (1, 2): 0.2, (1, ): 0.2,
        (0, 2): 0, (0, ): 0, (2, ): 0})
    for wrong in ([-1.], []):
        with pytest.raises(ValueError, match='keep_probabilities'):
            keep_probabilities(wrong)
