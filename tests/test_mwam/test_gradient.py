"""The gradient-scaling function."""
import torch
from torch import nn

from mwam_mm.mwam import scale_gradient


def test_values_are_the_same_and_the_gradient_is_scaled():
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    y = scale_gradient(x, torch.tensor(0.3))
    assert torch.equal(x, y)
    (y**2).sum().backward()
    assert torch.allclose(x.grad, 2 * x * torch.tensor(0.3).double())


def test_every_parameter_before_it_is_scaled():
    branch = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    x = torch.randn(2, 4)
    branch(x).square().sum().backward()
    plain = [p.grad.clone() for p in branch.parameters()]
    branch.zero_grad()
    scale_gradient(branch(x), torch.tensor(1.4)).square().sum().backward()
    for p, grad in zip(branch.parameters(), plain):
        assert torch.allclose(p.grad, 1.4 * grad, rtol=1e-5)


def test_the_gradient_keeps_its_dtype():
    x = torch.ones(2, dtype=torch.bfloat16, requires_grad=True)
    scale_gradient(x, torch.tensor(0.5)).sum().backward()
    assert x.grad.dtype == torch.bfloat16
    assert x.grad.tolist() == [0.5, 0.5]
