"""The bank against Eq. 2 in plain Python."""
import pytest
import torch

from mwam_mm.mwam import FRMBank


@pytest.mark.parametrize('warm_start', (True, False))
@pytest.mark.parametrize('momentum', (0., .5, .9))
def test_equals_the_recursion(momentum, warm_start):
    bank = FRMBank(momentum, warm_start)
    generator = torch.Generator().manual_seed(0)
    expected = None
    for _ in range(10):
        frm = torch.rand(3, generator=generator, dtype=torch.float64)
        if expected is None:
            expected = frm if warm_start else (1 - momentum) * frm
        else:
            expected = momentum * expected + (1 - momentum) * frm
        assert torch.allclose(bank.update(frm), expected, atol=1e-12)


def test_invalid_and_non_finite_entries_stay_untouched():
    bank = FRMBank(0.5)
    bank.update(torch.tensor([1., 2., 3., 4.]))
    values = bank.update(
        torch.tensor([9., float('nan'), float('inf'), 8.]),
        torch.tensor([False, True, True, True]))
    assert values.tolist() == [1., 2., 3., 6.]


def test_a_late_modality_starts_from_its_first_value():
    bank = FRMBank(0.5)
    bank.update(torch.tensor([1., float('nan')]))
    assert bank.seen.tolist() == [True, False]
    assert bank.update(torch.tensor([1., 6.])).tolist() == [1., 6.]
    assert bank.seen.tolist() == [True, True]


def test_state_dict_continues_exactly():
    a, b = FRMBank(0.3), FRMBank(0.3)
    a.update(torch.tensor([1., 2.]))
    b.load_state_dict(a.state_dict())
    frm = torch.tensor([5., 7.])
    assert torch.equal(a.update(frm), b.update(frm))


def test_errors():
    with pytest.raises(ValueError, match='momentum'):
        FRMBank(1.)
    bank = FRMBank()
    bank.update(torch.ones(2))
    with pytest.raises(ValueError, match='2 modalities'):
        bank.update(torch.ones(3))
