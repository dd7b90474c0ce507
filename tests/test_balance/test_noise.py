"""The noise of OGM-GE."""
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mwam_mm.registry import INTERVENTIONS


def changed(names, k, interventions=('noise', ), iteration=0, optimizers=1,
            **kwargs):
    """Gradients before and after, by name of the branch and parameter. With
    several optimizers each has some of the branches."""
    branches = {n: nn.Conv2d(30, 40, 3) for n in names}
    generator = torch.Generator().manual_seed(1)
    before = {}
    for name, branch in branches.items():
        for key, p in branch.named_parameters():
            p.grad = 3 + 2 * torch.randn(p.shape, generator=generator)
            before[name, key] = p.grad.clone()
    noise = INTERVENTIONS.get('noise')(**kwargs)
    context = SimpleNamespace(
        runner=SimpleNamespace(seed=0, iter=iteration),
        modalities=names,
        weights=torch.tensor(k),
        interventions=interventions,
        sharded=False,
        where='here',
        probe=SimpleNamespace(branches={
            n: list(b.parameters()) for n, b in branches.items()
        }))
    noise.check(context)
    noise.attach(context)
    for i in range(optimizers):
        noise.before_step(torch.optim.SGD(
            [p for b in list(branches.values())[i::optimizers]
             for p in b.parameters()], lr=1.))
    return {(name, key): (before[name, key], p.grad)
            for name, branch in branches.items()
            for key, p in branch.named_parameters()}


@pytest.mark.parametrize('names, k', [
    (('rgb', 'depth'), (0.5, 1.)),
    (('rgb', 'depth', 'thermal'), (0.5, 1., 2.)),
])
def test_its_size_is_that_of_the_gradient(names, k):
    """The gradients have a standard deviation of 2 by construction, and the
    noise 10800 elements."""
    drawn = []
    for (_, key), (before, after) in changed(names, k).items():
        if key == 'bias':
            assert torch.equal(before, after)
            continue
        drawn.append(after - before)
        assert drawn[-1].std().item() == pytest.approx(2, rel=0.03)
        assert drawn[-1].mean().item() == pytest.approx(0, abs=0.1)
    assert not torch.allclose(drawn[0], drawn[1])
    # With the gradients scaled already the noise is of those before.
    for name, factor in zip(names, k):
        before, after = changed(
            names, k, ('gradient', 'noise'))[name, 'weight']
        assert (after - before).std().item() == pytest.approx(
            2 / factor, rel=0.03)
    # Or it scales them, and its own noise stays.
    scaled = changed(names, k, scale=True)
    for i, (name, factor) in enumerate(zip(names, k)):
        before, after = scaled[name, 'weight']
        torch.testing.assert_close(after, factor * before + drawn[i])
        assert torch.equal(*scaled[name, 'bias'])


def test_the_draws_depend_on_the_iteration_only():
    def draw(iteration):
        before, after = changed(('rgb', ), (1., ), iteration=iteration)[
            'rgb', 'weight']
        return after - before

    assert torch.equal(draw(3), draw(3))
    assert not torch.allclose(draw(3), draw(4))


def test_each_optimizer_has_noise_of_its_own():
    names, k = ('rgb', 'depth'), (1., 1.)
    drawn = [
        {key: after - before for key, (before, after) in changed(
            names, k, optimizers=n).items()} for n in (1, 2)
    ]
    for name in names:
        assert torch.equal(*(d[name, 'weight'] for d in drawn))


def test_gradients_that_k_has_made_0_get_none():
    (_, after), *_ = changed(('rgb', ), (0., ), ('gradient', 'noise')).values()
    assert after.isfinite().all()


def test_other_tensors():
    result = changed(('rgb', ), (1., ), dims=(1, 4))
    assert not torch.equal(*result['rgb', 'bias'])


@pytest.mark.parametrize('kwargs, interventions, message', [
    (dict(dims=()), ('noise', ), 'noise.dims is empty'),
    (dict(dims=(5, )), ('noise', ), r"\['rgb'\].*noise.dims"),
    (dict(scale=True), ('gradient', 'noise'), 'scale twice'),
    (dict(scale=True), ('update', 'noise'), 'scale twice'),
])
def test_what_cannot_work_is_refused(kwargs, interventions, message):
    with pytest.raises(ValueError, match=message):
        changed(('rgb', ), (1., ), interventions, **kwargs)
