"""LFM against numbers worked out by hand."""
from math import exp, log
from types import SimpleNamespace

import pytest
import torch

from mwam_mm.balance.interventions.lfm import jensen_shannon, lfm_weights
from mwam_mm.registry import INTERVENTIONS

from .. import tiny
from .hand import HandHost, HandJoined, labels, odds, signal
from .separate import kept, losses_of, only
from .test_combination import job


def entropy(*p):
    return -sum(x * log(x) for x in p)


def run(one, iteration=0, **kwargs):
    lfm = INTERVENTIONS.get('lfm')(**kwargs)
    lfm.context = SimpleNamespace(
        runner=SimpleNamespace(iter=iteration, max_iters=200), where='here')
    lfm.at_features(one, one.outputs)
    one.joined = HandJoined(one)
    return lfm.at_losses(one, {'decode.loss_ce': torch.tensor(5.), 'acc': 1})


@pytest.mark.parametrize('p', [
    dict(rgb=.8, depth=.4),
    dict(rgb=.8, depth=.4, thermal=.3),
])
def test_losses_and_divergence(p):
    """One pixel; the losses of the hand host are the logit and 0."""
    losses = run(
        signal({n: odds(x) for n, x in p.items()}, labels(1)),
        weights=(0.5, 2.))
    mean = sum(p.values()) / len(p)
    divergence = entropy(mean, 1 - mean) - sum(
        entropy(x, 1 - x) for x in p.values()) / len(p)
    assert losses['lfm.loss_align'].item() == pytest.approx(2 * divergence)
    for name, x in p.items():
        value, = losses[f'alone_{name}.loss_cls']
        assert value.item() == pytest.approx(
            0.5 / len(p) * log(x / (1 - x)), rel=1e-5)
        assert f'alone_{name}.acc' not in losses
    assert losses['decode.loss_ce'].item() == 5 and losses['acc'] == 1


def test_samples_that_lack_a_modality():
    """The divergence is of the one sample that has both."""
    both = run(signal(dict(rgb=odds(.8), depth=odds(.4)), labels(1)))
    nothing = torch.zeros(1, 2, 1, 1)
    mixed = run(
        signal(
            dict(rgb=torch.cat([odds(.8), odds(.9)]),
                 depth=torch.cat([odds(.4), nothing])),
            labels(1).repeat(2, 1, 1),
            present=dict(rgb=[True, True], depth=[True, False])))
    assert mixed['lfm.loss_align'].item() == pytest.approx(
        both['lfm.loss_align'].item())
    one = run(signal(dict(rgb=odds(.8), depth=None), labels(1)))
    assert one['lfm.loss_align'].item() == pytest.approx(0, abs=1e-6)
    # All of the share of classification is that of rgb.
    assert one['alone_rgb.loss_cls'][0].item() == pytest.approx(
        0.205 * log(4), rel=1e-5)
    assert 'alone_depth.loss_cls' not in one


def test_divergence_of_images():
    """One label an image; the second has one modality, the third three."""
    p = [[.8, .9, .7], [.4, .3], [.1]]
    rows = [[0, 1, 2], [0, 2], [2]]
    log_p = [torch.tensor([[1 - x, x] for x in of_one]).log() for of_one in p]
    expected = [
        entropy(sum(q) / len(q), 1 - sum(q) / len(q)) -
        sum(entropy(x, 1 - x) for x in q) / len(q)
        for q in ([.8, .4], [.7, .3, .1])
    ]
    assert jensen_shannon(log_p, rows, 3).item() == pytest.approx(
        sum(expected) / 2, rel=1e-5)


def test_the_schedules():
    # Between 25 and 50 % it goes from 0.44 to 0.54.
    assert lfm_weights(0.375) == pytest.approx((0.49, 0.51))
    assert lfm_weights(0) == pytest.approx((0.205, 0.795))
    assert lfm_weights(0.95) == (1, 0)
    # Epoch 1 + 0.5 * 199 = 100.5
    assert lfm_weights(0.5, 'heuristic') == pytest.approx(
        (exp(-1 / 100.5), 1 - exp(-1 / 100.5)))
    # Of 200 iterations 75 are over.
    losses = run(signal(dict(rgb=odds(.8), depth=odds(.8)), labels(1)), 75)
    assert losses['alone_rgb.loss_cls'][0].item() == pytest.approx(
        0.49 / 2 * log(4), rel=1e-5)


def test_models_without_logits():
    host = HandHost()
    for logits, given in (([torch.zeros(1)], 'list'),
                          (torch.zeros(1, 2, 3), 'Tensor')):
        host.logits = lambda *_: logits
        with pytest.raises(ValueError, match=f'"lfm".*{given}.*mmpareto'):
            run(signal(dict(rgb=odds(.8), depth=odds(.8)), labels(1), host))


@pytest.mark.parametrize('kwargs, message', [
    (dict(schedule='x'), "lfm.schedule='x'"),
    (dict(epochs=0), 'lfm.epochs'),
    (dict(weights=[1.]), 'lfm.weights'),
    (dict(weights=[1., -1.]), 'lfm.weights'),
])
def test_arguments_that_cannot_be(kwargs, message):
    with pytest.raises(ValueError, match=message):
        INTERVENTIONS.get('lfm')(**kwargs)


@pytest.mark.parametrize(
    'head', ['mmseg.FCNHead', 'mwam_mm.HeadWithItsOwnLoss'])
def test_in_a_run(tmp_path, head):
    """Against forwards of their own, with heads that run once and with heads
    that run for each subset."""
    # By MMSegmentation's own deviation of 0.01 the predictions nearly agree,
    # and what is left of their divergence is mostly rounding.
    cfg = job(tmp_path, model=dict(
        tiny.model(), decode_head=dict(
            tiny.model()['decode_head'], type=head, init_cfg=dict(
                type='Normal', std=0.3, override=dict(name='conv_seg')))))
    keeper, _ = kept(cfg, dict(type='lfm', weights=(0.5, 2.)))
    model, x = keeper.before.train(), keeper.batch['inputs']
    for name in ('rgb', 'depth'):
        expected = losses_of(model, keeper, name)
        torch.testing.assert_close(
            keeper.losses[f'alone_{name}.decode.loss_ce'],
            0.25 * expected['decode.loss_ce'], rtol=1e-4, atol=1e-6)
    # Samples 0 and 3 have both.
    p = [
        model(only(x[[0, 3]], [[name]] * 2, model), mode='tensor').softmax(1)
        for name in ('rgb', 'depth')
    ]
    entropies = [-(q * q.log()).sum(1) for q in (sum(p) / 2, *p)]
    divergence = entropies[0] - sum(entropies[1:]) / 2
    torch.testing.assert_close(
        keeper.losses['lfm.loss_align'], 2 * divergence.mean(),
        rtol=1e-3, atol=1e-6)
    assert divergence.mean() > 1e-3
    assert keeper.calls == ['rgb', 'depth']
