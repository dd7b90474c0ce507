"""The share of the fused loss's gradient that reaches the branches."""
import pytest
import torch

from .. import tiny
from ..test_engine.ways import BRANCHES
from .separate import kept, losses_of, total
from .test_combination import job

K = dict(rgb=0.5, depth=2.)


def gradients(model, losses):
    model.zero_grad()
    total(losses).backward()
    return {n: None if p.grad is None else p.grad.clone()
            for n, p in model.named_parameters()}


@pytest.mark.parametrize('share', [0., 0.3, 1.])
@pytest.mark.parametrize('weights', ['even', 'k'])
def test_the_share_is_of_the_fused_loss_only(tmp_path, share, weights):
    keeper, _ = kept(
        job(tmp_path), 'combination',
        dict(type='detach', share=share, weights=weights))
    model = keeper.before.train()
    fused = gradients(model, model.loss(
        keeper.batch['inputs'], keeper.batch['data_samples']))
    singles = [gradients(model, losses_of(model, keeper, name))
               for name in ('rgb', 'depth')]
    scaled = 0
    for key, gradient in fused.items():
        if gradient is None:
            continue
        factor = 1.
        for name, path in BRANCHES.items():
            if key.startswith(f'{path}.'):
                factor = share * (K[name] if weights == 'k' else 1.)
                scaled += 1
        gradient = factor * gradient + sum(
            single[key] for single in singles if single[key] is not None)
        torch.testing.assert_close(
            keeper.gradients[key], gradient, rtol=1e-4, atol=1e-6)
    assert scaled > 20


def test_heads_of_their_own_see_no_change(tmp_path):
    model = dict(
        tiny.model({}), host='mmseg.EncoderDecoder',
        type='mwam_mm.with_modality_heads')
    keeper, _ = kept(
        job(tmp_path, model=model), 'loss', 'detach')
    for path in BRANCHES.values():
        assert keeper.gradients[f'{path}.conv1.weight'].any()


def test_a_part_needs_no_losses_beside(tmp_path):
    plain, _ = kept(job(tmp_path / 'plain'), 'update')
    keeper, _ = kept(job(tmp_path / 'half'), dict(type='detach', share=0.5))
    for key, gradient in plain.gradients.items():
        if gradient is not None:
            factor = 0.5 if 'branches' in key else 1.
            torch.testing.assert_close(
                keeper.gradients[key], factor * gradient, rtol=1e-4,
                atol=1e-7)


@pytest.mark.parametrize('other', ['lfm', 'mmpareto'])
def test_losses_that_other_methods_add_are_enough(tmp_path, other):
    """The branches then learn from these only."""
    keeper, _ = kept(job(tmp_path), other, 'detach')
    assert keeper.gradients['backbone.branches.rgb.conv1.weight'].any()


@pytest.mark.parametrize('interventions, message', [
    (['detach'], 'without any loss: add "combination" or "loss"'),
    ([dict(type='detach', share=1.5)], 'share=1.5 must be from 0 to 1'),
    ([dict(type='detach', weights='all')], "weights='all'.*even"),
])
def test_what_cannot_work_is_refused(tmp_path, interventions, message):
    with pytest.raises(ValueError, match=message):
        kept(job(tmp_path), *interventions)
    with pytest.raises(ValueError, match='"detach".*drop branches'):
        kept(job(tmp_path), dict(type='detach', share=1.), branches=BRANCHES)
