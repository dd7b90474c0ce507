"""MMPareto at the features against numbers worked out by hand."""
import copy
from math import sqrt

import pytest
import torch
from mmengine.runner import Runner

from mwam_mm.balance.interventions.mmpareto import combine_gradients
from mwam_mm.registry import INTERVENTIONS

from .. import tiny
from .hand import HandJoined, labels, signal


def combine(fused, alone, gamma=1.):
    parts = combine_gradients([torch.tensor(x) for x in fused],
                              [torch.tensor(x) for x in alone], gamma)
    return [x.tolist() for x in parts]


def test_without_conflict_they_add_up():
    assert combine([[1., 0.], [2.]], [[0., 1.], [1.]]) == [[1., 1.], [3.]]
    assert combine([[1., 0.]], [[0., 1.]], gamma=1.5) == [[1.5, 1.5]]


def test_in_conflict_the_shortest_between_them():
    """g = (1, 0), h = (-1, 1): the share of g is (2 + 1) / (1 + 2 + 2) =
    0.6, the point (0.2, 0.4), twice that has the norm sqrt(0.8), the sum
    (0, 1) has 1."""
    g, = combine([[1., 0.]], [[-1., 1.]])
    assert g == pytest.approx([0.4 / sqrt(0.8), 0.8 / sqrt(0.8)])
    # As parts it is the same; one part alone would show no conflict.
    g = combine([[1.], [0.]], [[-1.], [1.]], gamma=1.5)
    assert sum(g, []) == pytest.approx([0.6 / sqrt(0.8), 1.2 / sqrt(0.8)])
    # g = (2, 0): share (2 + 2) / (4 + 2 + 4), point (0.2, 0.6), twice that
    # has the norm sqrt(1.6), the sum (1, 1) has sqrt(2).
    g, = combine([[2., 0.]], [[-1., 1.]])
    assert g == pytest.approx([0.4 * sqrt(1.25), 1.2 * sqrt(1.25)])


def test_squares_that_float16_does_not_hold():
    """As where the fp16 scaler has multiplied the losses."""
    g, = combine_gradients([torch.tensor([600., 0.]).half()],
                           [torch.tensor([-300., 300.]).half()], 1.)
    assert g.dtype == torch.float16
    assert g.tolist() == pytest.approx(
        [120 * sqrt(1.25), 360 * sqrt(1.25)], rel=2e-3)


def test_what_cancels_out_is_not_made_longer():
    """g = (3, 0), h = (-1, 0): the shortest between them is 0."""
    for one, other in ((3., -1.), (-1., 3.)):
        g, = combine([[one, 0.]], [[other, 0.]])
        assert g == pytest.approx([0, 0], abs=1e-5)
    assert combine([[0., 0.]], [[0., 0.]]) == [[0., 0.]]


@pytest.mark.parametrize('length', [1., 1e4, 1e7])
def test_a_short_gradient_is_not_taken_for_one_that_cancels_out(length):
    """g = (n, 0), h = (-1, 1): the shares are (2 + n) / (n^2 + 2 n + 2) and
    (n^2 + n) / (n^2 + 2 n + 2), the point (n, n^2 + n) / (n^2 + 2 n + 2), the
    sum (n - 1, 1). For n = 1e4 twice the point is 5000 times shorter."""
    along = 1 / sqrt(1 + (length + 1)**2)  # of a unit vector to the point
    whole = sqrt((length - 1)**2 + 1)
    for order in (1, -1):
        g, = combine(*[[[length, 0.]], [[-1., 1.]]][::order])
        assert g == pytest.approx(
            [whole * along, whole * along * (length + 1)],
            rel=1e-5, abs=1e-6 * whole)


def test_a_factor_beyond_float16():
    """g = (1, 0), h = (-1, 1) / 2^20: twice the point is 2^19 times too
    short."""
    g, = combine_gradients([torch.tensor([1., 0.]).half()],
                           [torch.tensor([-1., 1.]).half() / 2**20], 1.)
    assert g.dtype == torch.half
    assert g.tolist() == pytest.approx([0, 1], abs=1e-3)


@pytest.mark.parametrize('names', [('rgb', 'depth'),
                                   ('rgb', 'depth', 'thermal')])
def test_the_gradients_meet_at_the_features(names):
    """Fused: (1, 0) at all. Alone, by K: those of the loss of the hand host,
    whose sum is (1, 1) without and (-1, 1) in conflict, times K."""

    class Host:

        def losses(self, selection, inputs, samples):
            name, = (n for n, f in selection.outputs.features.items()
                     if f is not None)
            x = selection.outputs.features[name][0, :, 0, 0]
            sign = 1 if name == 'rgb' else -1
            return dict(loss=sign * x[0] + x[1], acc=x.sum())

    intervention = INTERVENTIONS.get('mmpareto')(gamma=1.)
    z = {n: torch.zeros(1, 2, 1, 1, requires_grad=True) for n in names}
    one = signal(dict(z), labels(0), Host())
    outputs = intervention.at_features(one, one.outputs)
    outputs = intervention.at_fusion(one, outputs)
    one.joined = HandJoined(one)
    fused = sum(x[0, 0, 0, 0] for x in outputs.features.values())
    one.weights = torch.full_like(one.weights, 2.)
    losses = intervention.at_losses(one, dict(loss=fused))
    assert set(losses) == {'loss', *(f'alone_{n}.loss' for n in names)}
    sum(losses.values()).backward()
    assert z['rgb'].grad.flatten().tolist() == [3, 2]
    for name in names[1:]:
        # g = (1, 0), h = (-2, 2): share (8 + 2) / (1 + 8 + 4) = 10/13, point
        # (4, 6)/13, twice (8, 12)/13 with norm sqrt(208)/13 = 1.109; the sum
        # (-1, 2) has sqrt(5).
        length = sqrt(5) / (sqrt(208) / 13)
        assert z[name].grad.flatten().tolist() == pytest.approx(
            [8 / 13 * length, 12 / 13 * length])


def test_samples_that_lack_the_modality_do_not_count():
    """At their zeros the fused loss has a gradient that reaches no branch.

    At the first sample g = (1, 0) and h = (-1, 1), as above.
    """

    class Host:

        def losses(self, selection, inputs, samples):
            x = selection.outputs.features['rgb'][0, :, 0, 0]
            return dict(loss=x[1] - x[0])

    intervention = INTERVENTIONS.get('mmpareto')(gamma=1.)
    z = torch.zeros(2, 2, 1, 1, requires_grad=True)
    one = signal(dict(rgb=z), [labels(0)[0]] * 2, Host(),
                 present=dict(rgb=[True, False]))
    outputs = intervention.at_fusion(
        one, intervention.at_features(one, one.outputs))
    one.joined = HandJoined(one)
    x = outputs.features['rgb'][..., 0, 0]
    losses = intervention.at_losses(
        one, dict(loss=x[0, 0] + 100 * x[1].sum()))
    sum(losses.values()).backward()
    assert z.grad[0].flatten().tolist() == pytest.approx(
        [0.4 / sqrt(0.8), 0.8 / sqrt(0.8)])


def test_a_modality_that_no_sample_has():
    intervention = INTERVENTIONS.get('mmpareto')()
    one = signal(dict(rgb=torch.zeros(1, 2, 1, 1), depth=None), labels(0))
    outputs = intervention.at_fusion(
        one, intervention.at_features(one, one.outputs))
    assert outputs.features['depth'] is one.outputs.features['depth'] is None
    losses = dict(loss=torch.ones(()))
    assert intervention.at_losses(one, losses) is losses  # none was asked for
    other = signal(dict(rgb=torch.zeros(1, 2, 1, 1)), labels(0))
    other.arguments['mode'] = 'predict'
    assert intervention.at_fusion(other, outputs) is outputs
    one.joined = HandJoined(one)
    assert set(intervention.at_losses(one, losses)) == {
        'loss', 'alone_rgb.loss_cls', 'alone_rgb.loss_box'}


def test_heads_get_the_sum_and_branches_what_is_combined(tmp_path):
    """Against gradients of losses computed one by one, in a real Runner."""
    hook = dict(
        type='mwam_mm.BalanceHook',
        weigher=dict(type='Constant', k=dict(rgb=1., depth=3.)),
        intervention='mmpareto')
    cfg = tiny.config(
        tmp_path, max_iters=1, hook=hook,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.)))
    cfg.train_dataloader.sampler.shuffle = False
    runner = Runner.from_cfg(cfg)
    runner.model.init_weights()
    model = copy.deepcopy(runner.model)
    runner.train()
    # The branches by chain rule, from gradients at the features.
    data = [tiny.TinyPairs()[i] for i in range(4)]
    batch = model.data_preprocessor(
        dict(inputs=[d['inputs'] for d in data],
             data_samples=[d['data_samples'] for d in data]), True)
    x, samples = batch['inputs'], batch['data_samples']
    outputs = model.backbone(x)
    names = ['rgb', 'depth']
    levels = [f for n in names for f in outputs.features[n]]
    leaves = [f.detach().requires_grad_() for f in levels]

    def loss(kept):
        features = {
            n: [f if n in kept else 0 * f
                for f in leaves[2 * i:2 * i + 2]]
            for i, n in enumerate(names)
        }
        present = {n: [n in kept] * 4 for n in names}
        fused = model.neck(
            outputs._replace(features=features, present=present))
        head = model.decode_head.loss(fused, samples, {})
        return head['loss_ce']

    head = list(model.decode_head.parameters())
    grads = [
        torch.autograd.grad(k * loss(kept), leaves + head, allow_unused=True)
        for kept, k in ((names, 1), (['rgb'], 1), (['depth'], 3))
    ]
    grads = [[torch.zeros_like(p) if g is None else g
              for g, p in zip(some, leaves + head)] for some in grads]
    flat = [[torch.cat([g.flatten() for g in some[2 * i:2 * i + 2]])
             for i in range(2)] for some in grads]
    combined = []
    for i in range(2):
        g, h = flat[0][i], flat[1 + i][i]
        if g @ h >= 0:
            combined.append(1.5 * (g + h))
            continue
        a = (h @ h - g @ h) / (g - h).norm()**2
        point = 2 * (a * g + (1 - a) * h)
        combined.append(
            1.5 * point * max(1, (g + h).norm() / point.norm()))
    # The fused loss alone would do another step.
    assert not torch.allclose(combined[0], flat[0][0], rtol=0.1)
    targets = [
        part.view_as(f) for i in range(2) for part, f in zip(
            combined[i].split([f.numel() for f in levels[2 * i:2 * i + 2]]),
            levels[2 * i:2 * i + 2])
    ]
    torch.autograd.backward(levels, targets)
    after = dict(runner.model.named_parameters())
    for i, (name, p) in enumerate(model.decode_head.named_parameters()):
        step = sum(some[4 + i] for some in grads)
        torch.testing.assert_close(after[f'decode_head.{name}'].detach(),
                                   p.detach() - step, rtol=1e-4, atol=1e-5)
    for name, p in model.backbone.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(after[f'backbone.{name}'].detach(),
                                       p.detach() - p.grad, rtol=1e-3,
                                       atol=1e-4)


def test_what_cannot_work_is_refused(tmp_path):
    with pytest.raises(ValueError, match='mmpareto.gamma'):
        INTERVENTIONS.get('mmpareto')(gamma=0)
    hook = dict(
        type='mwam_mm.BalanceHook', weigher=dict(type='Constant'),
        intervention='mmpareto',
        branches=dict(rgb='backbone.branches.rgb',
                      depth='backbone.branches.depth'))
    with pytest.raises(ValueError, match='"mmpareto".*leave out branches'):
        tiny.train(tmp_path, max_iters=1, hook=hook)
    del hook['branches']
    hook['intervention'] = [dict(type='detach', share=.5), 'mmpareto']
    with pytest.raises(ValueError, match='"detach" after "mmpareto"'):
        tiny.train(tmp_path, max_iters=1, hook=hook)
