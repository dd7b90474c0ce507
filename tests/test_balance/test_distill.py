"""Distillation from the complete input, against the equations."""
import pytest
import torch
from torch.nn.functional import kl_div, log_softmax, mse_loss

from mwam_mm.registry import DATASETS

from .. import tiny
from ..test_engine.ways import BRANCHES
from .separate import kept, only, total
from .test_combination import head, job


@DATASETS.register_module()
class SomeIgnored(tiny.TinyPairs):
    """The upper half of each label counts nothing."""

    ignored = 16

    def __getitem__(self, i):
        item = super().__getitem__(i)
        data = item['data_samples'].gt_sem_seg.data.clone()
        data[:, :self.ignored] = 255
        item['data_samples'].gt_sem_seg.data = data
        return item


@DATASETS.register_module()
class AllIgnored(SomeIgnored):
    ignored = 32


def logits(keeper, *names):
    """By a forward on inputs with zeroed channels."""
    x = keeper.batch['inputs']
    return keeper.before.train()(
        only(x, [names] * len(x), keeper.before), mode='tensor')


def by_hand(keeper, name, t):
    teacher = logits(keeper, 'rgb', 'depth').detach()
    student = logits(keeper, name)
    half = student.shape[2] // 2
    student, teacher = (
        log_softmax(z[:, :, half:].permute(0, 2, 3, 1).flatten(0, 2) / t, 1)
        for z in (student, teacher))
    return t**2 * kl_div(
        student, teacher, reduction='batchmean', log_target=True)


@pytest.mark.parametrize('weights, k', [('even', (1., 1.)), ('k', (0.5, 2.))])
def test_pixels_that_are_not_ignored(tmp_path, weights, k):
    # By MMSegmentation's own deviation of 0.01 the predictions are nearly the
    # same, and what is left of their divergence is mostly rounding.
    decode_head = head(init_cfg=dict(
        type='Normal', std=0.3, override=dict(name='conv_seg')))
    keeper, _ = kept(
        job(tmp_path, 'SomeIgnored',
            model=dict(tiny.model(), decode_head=decode_head)),
        dict(type='distill', temperature=2., weights=weights))
    model = keeper.before.train()
    expected = model.loss(keeper.batch['inputs'], keeper.batch['data_samples'])
    for name, weight in zip(('rgb', 'depth'), k):
        expected[f'{name}.loss_distill'] = weight * by_hand(
            keeper, name, 2.)
    assert keeper.losses.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(
            keeper.losses[key], value, rtol=1e-4, atol=1e-6)
    assert expected['rgb.loss_distill'] > 1e-3
    total(expected).backward()
    for name, p in model.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(
                keeper.gradients[name], p.grad, rtol=1e-3, atol=1e-6)
    assert keeper.calls == ['rgb', 'depth']


def test_a_batch_without_labels(tmp_path):
    keeper, _ = kept(job(tmp_path, 'AllIgnored'), 'distill')
    assert keeper.losses['rgb.loss_distill'] == 0
    assert all(g.isfinite().all() for g in keeper.gradients.values()
               if g is not None)


SIGMOID = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_name='loss_ce')
DICE = dict(type='DiceLoss', loss_name='loss_dice')  # by sigmoid, as it comes


@pytest.mark.parametrize('losses, by_class', [
    (SIGMOID, True), ([SIGMOID, DICE], True),
    ([dict(type='CrossEntropyLoss'), DICE], False)])
def test_sigmoid_tells_each_class_by_itself(tmp_path, losses, by_class):
    keeper, _ = kept(
        job(tmp_path, 'TinyPairs', model=dict(
            tiny.model(), decode_head=head(loss_decode=losses))), 'distill')
    teacher, student = logits(keeper, 'rgb', 'depth'), logits(keeper, 'rgb')
    if by_class:
        p, q = teacher.sigmoid(), student.sigmoid()
        kl = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    else:
        p, q = teacher.softmax(1), student.softmax(1)
        kl = p * (p / q).log()
    torch.testing.assert_close(
        keeper.losses['rgb.loss_distill'], kl.sum(1).mean(), rtol=1e-3,
        atol=1e-7)


def test_features(tmp_path):
    keeper, _ = kept(
        job(tmp_path, 'TinyPairs'),
        dict(type='distill', on='features', weight=10.))
    model = keeper.before.train()
    x = keeper.batch['inputs']
    expected = model.loss(x, keeper.batch['data_samples'])
    teacher = [f.detach() for f in model.extract_feat(x)]
    for name in ('rgb', 'depth'):
        student = model.extract_feat(only(x, [[name]] * 4, model))
        expected[f'{name}.loss_distill'] = 10 * sum(
            mse_loss(s, t) for s, t in zip(student, teacher)) / len(teacher)
        torch.testing.assert_close(
            keeper.losses[f'{name}.loss_distill'],
            expected[f'{name}.loss_distill'], rtol=1e-4, atol=1e-6)
    total(expected).backward()
    for name, p in model.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(
                keeper.gradients[name], p.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize('subsets', ['singles', 'paired'])
def test_no_second_pass_beside_combination(tmp_path, subsets):
    keeper, runner = kept(
        job(tmp_path, 'TinyPairs', model=dict(
            tiny.model(), decode_head=head(norm_cfg=dict(type='BN')))),
        dict(type='combination', subsets=subsets), 'distill')
    names = ['rgb', 'depth'] if subsets == 'singles' else ['paired']
    assert [k for k in keeper.losses if 'loss' in k] == [
        'decode.loss_ce', *(f'{n}.decode.loss_ce' for n in names),
        *(f'{n}.loss_distill' for n in names)
    ]
    tracked = [b for n, b in runner.model.named_buffers()
               if n.endswith('num_batches_tracked')]
    assert tracked and all(b == 1 for b in tracked)


@pytest.mark.parametrize('options, message', [
    (dict(on='boxes'), "on='boxes'.*features"),
    (dict(temperature=0.), 'temperature=0.0 must be positive'),
    (dict(weight=-1.), 'weight=-1.0 must not be negative'),
    (dict(subsets='all'), "subsets='all'.*paired"),
])
def test_wrong_options(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        kept(job(tmp_path), dict(options, type='distill'))


def test_what_cannot_work_is_refused(tmp_path):
    own = dict(
        tiny.model(), decode_head=head(type='mwam_mm.HeadWithItsOwnLoss'))
    with pytest.raises(ValueError, match="EncoderDecoder.*on='features'"):
        kept(job(tmp_path / 'a', model=own), 'distill')
    with pytest.raises(ValueError, match='leave out distill.subsets'):
        kept(job(tmp_path / 'b'), 'combination',
             dict(type='distill', subsets='paired'))
    with pytest.raises(ValueError, match='"distill".*leave out branches'):
        kept(job(tmp_path / 'c'), 'distill', branches=BRANCHES)
