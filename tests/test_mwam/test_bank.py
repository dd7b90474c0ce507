"""The bank against Eq. 2 in plain Python."""
import pytest
import torch

from mwam_mm.mwam import FRMBank
from mwam_mm.mwam.bank import FRMStart


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


def test_the_start_is_the_mean_of_the_first_values():
    start = FRMStart(num_batches=3)
    generator = torch.Generator().manual_seed(0)
    seen = [[], []]
    for i in range(6):
        frm = torch.rand(2, generator=generator, dtype=torch.float64)
        valid = torch.tensor([True, i % 2 == 1])
        if i == 1:
            frm[0] = float('nan')
        for values, value, is_valid in zip(seen, frm.tolist(), valid):
            if is_valid and value == value and len(values) < 3:
                values.append(value)
        expected = [sum(v) / len(v) if v else 0. for v in seen]
        assert start.update(frm, valid).tolist() == pytest.approx(
            expected, abs=1e-12)
    assert start.counts.tolist() == [3, 3]
