"""Classifiers of MMPretrain with every weigher and intervention."""
import copy
import json
from math import tanh

import pytest
import torch
from mmengine.runner import Runner
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from mwam_mm.stack import check_stack

from .. import tiny, tiny_cls
from ..stacks import needs_classification

pytestmark = needs_classification
OGM = dict(type='mwam_mm.OGM', alpha=0.8)
ONE = dict(type='mwam_mm.Constant')
METHODS = {
    'OGM': (OGM, 'gradient'),
    'OGM-GE': (OGM, ['gradient', 'noise']),
    'AGM': (dict(type='mwam_mm.AGM'), 'update'),
    'OPM': (dict(type='mwam_mm.OPM', q_base=1.),
            dict(type='dropout', draw='each')),
    'MSLR': (dict(type='mwam_mm.MSLR', metric=tiny_cls.METRIC), 'update'),
    'MSES': (dict(type='mwam_mm.MSES', metric=tiny_cls.METRIC, patience=1),
             'update'),
    'LFM': (ONE, 'lfm'),
    'MMPareto': (ONE, 'mmpareto'),
    'combination': (OGM, ['combination', 'distill', 'detach']),
    'dropout': (OGM, 'dropout'),
}


@pytest.fixture(scope='module', autouse=True)
def mmpretrain():
    check_stack('mmpretrain')


def hook(weigher, intervention):
    return dict(
        type='mwam_mm.BalanceHook', weigher=weigher, intervention=intervention)


@pytest.mark.parametrize('name', METHODS)
def test_every_method_trains(tmp_path, name):
    runner = Runner.from_cfg(
        tiny_cls.config(tmp_path, hook=hook(*METHODS[name])))
    plain = set(runner.model.state_dict())
    changed = tiny.change(runner)
    assert set(runner.model.state_dict()) == plain
    for part in ('backbone.branches.rgb', 'backbone.branches.depth', 'head'):
        moved = [v for k, v in changed.items() if k.startswith(part)]
        assert any(v.abs().max() > 0 for v in moved), part
        assert all(v.isfinite().all() for v in moved)


@pytest.mark.parametrize('intervention', [
    'gradient', 'update', ['loss', 'gradient']])
def test_mwam_and_the_table(tmp_path, intervention):
    cfg = tiny_cls.config(
        tmp_path,
        mwam=dict(),
        hook=dict(type='mwam_mm.MWAMHook', intervention=intervention))
    if 'loss' in intervention:
        cfg.model.update(type='mwam_mm.with_modality_heads',
                         host=cfg.model.type)
        cfg.model.head.cal_acc = True
    runner = Runner.from_cfg(cfg)
    runner.train()
    weights = runner.model.neck.mwam.weights
    assert (weights != 1).all() and weights.isfinite().all()

    report, = tmp_path.rglob('missing_modality_val.json')
    report = json.loads(report.read_text())
    assert list(report['combinations']) == ['rgb+depth', 'rgb', 'depth']
    metrics = report['combinations']['depth']['metrics']
    assert {tiny_cls.METRIC, 'spoofing/ACER', 'spoofing/TPR@FPR=0.1'} <= set(
        metrics)
    assert report['higher_is_better'][tiny_cls.METRIC]

    # by a forward of its own on inputs without RGB
    model = runner.model.eval()
    data = tiny_cls.TinyFaces(seed=1)
    batch = model.data_preprocessor(
        dict(inputs=[d['inputs'] for d in data],
             data_samples=[d['data_samples'] for d in data]))
    x = batch['inputs'].clone()
    x[:, :3] = 0
    with torch.no_grad():
        predicted = model(x).argmax(1).tolist()
    right = [p == label for p, label in zip(predicted, data.labels)]
    assert metrics[tiny_cls.METRIC] == pytest.approx(
        100 * sum(right) / len(right))


def first_batch(cfg):
    """The model of a run as it starts, and its first batch."""
    cfg.train_dataloader.sampler.shuffle = False
    runner = Runner.from_cfg(cfg)
    runner.model.init_weights()
    model = copy.deepcopy(runner.model)
    data = [tiny_cls.TinyFaces()[i] for i in range(4)]
    batch = model.data_preprocessor(
        dict(inputs=[d['inputs'] for d in data],
             data_samples=[d['data_samples'] for d in data]), True)
    labels = torch.cat([s.gt_label for s in batch['data_samples']])
    return runner, model.eval(), batch['inputs'], labels


@torch.no_grad()
def logits(model, x, channels):
    kept = torch.zeros_like(x)
    kept[:, channels] = x[:, channels]
    return model(kept, mode='tensor')


def test_scores_are_the_probability_of_the_label(tmp_path):
    runner, model, x, labels = first_batch(
        tiny_cls.config(tmp_path, hook=hook(OGM, 'gradient'), train_cfg=dict(
            type='IterBasedTrainLoop', max_iters=1)))
    runner.train()
    p = [
        logits(model, x, c).softmax(1)[range(4), labels].mean().item()
        for c in (slice(0, 3), slice(3, 4))
    ]
    expected = [1 - tanh(0.8 * a / b) if a > b else 1.
                for a, b in (p, p[::-1])]
    balance, = (h for h in runner.hooks if type(h).__name__ == 'BalanceHook')
    assert balance.context.weights.tolist() == pytest.approx(
        expected, rel=1e-4)


def test_distillation_of_the_logits(tmp_path):
    ways = ['combination', dict(type='distill', temperature=2.)]
    runner, model, x, labels = first_batch(
        tiny_cls.config(tmp_path, hook=hook(ONE, ways), train_cfg=dict(
            type='IterBasedTrainLoop', max_iters=1)))
    found = {}
    parse = runner.model.parse_losses
    runner.model.parse_losses = lambda losses: (
        found.update(losses), parse(losses))[1]
    runner.train()
    whole = logits(model, x, slice(0, 4))
    expected = {'loss': cross_entropy(whole, labels)}
    for name, channels in dict(rgb=slice(0, 3), depth=slice(3, 4)).items():
        alone = logits(model, x, channels)
        expected[f'{name}.loss'] = cross_entropy(alone, labels)
        expected[f'{name}.loss_distill'] = 4 * kl_div(
            log_softmax(alone / 2, 1), log_softmax(whole / 2, 1),
            reduction='batchmean', log_target=True)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('loss', [
    dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original',
         use_sigmoid=True, num_classes=2),
    dict(type='FocalLoss')])
def test_distillation_of_each_class_by_itself(tmp_path, loss):
    """Two losses that use a sigmoid and have no ``use_sigmoid``."""
    cfg = tiny_cls.config(
        tmp_path, hook=hook(ONE, dict(type='distill', temperature=2.)),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=1))
    cfg.model.head.loss = loss
    runner, model, x, _ = first_batch(cfg)
    found = {}
    parse = runner.model.parse_losses
    runner.model.parse_losses = lambda losses: (
        found.update(losses), parse(losses))[1]
    runner.train()
    p = (logits(model, x, slice(0, 4)) / 2).sigmoid()
    q = (logits(model, x, slice(0, 3)) / 2).sigmoid()
    kl = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    torch.testing.assert_close(
        found['rgb.loss_distill'], 4 * kl.sum(1).mean(), rtol=1e-4, atol=1e-6)


def test_distillation_of_each_of_two_scores(tmp_path):
    """Conformer's head gives those of two classifiers."""
    from mmpretrain.models import ConformerHead

    class TwoScores(ConformerHead):

        def pre_logits(self, feats):
            return feats[-1], -feats[-1]

    cfg = tiny_cls.config(
        tmp_path, hook=hook(ONE, ['combination', 'distill']),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=1))
    cfg.model.head.update(
        type=TwoScores, in_channels=[8, 8],
        init_cfg=dict(type='Normal', layer='Linear', std=1.))
    runner, model, x, _ = first_batch(cfg)
    found = {}
    parse = runner.model.parse_losses
    runner.model.parse_losses = lambda losses: (
        found.update(losses), parse(losses))[1]
    runner.train()
    expected = [
        kl_div(log_softmax(alone, 1), log_softmax(whole, 1),
               reduction='batchmean', log_target=True)
        for alone, whole in zip(logits(model, x, slice(0, 3)),
                                logits(model, x, slice(0, 4)))
    ]
    torch.testing.assert_close(
        found['rgb.loss_distill'], sum(expected) / 2, rtol=1e-4, atol=1e-6)
    assert expected[0] > 1e-3 and not torch.isclose(*expected)


def test_what_is_no_class_has_no_logits(tmp_path):
    """Numbers that are estimated are no distribution over classes."""
    pytest.importorskip('mmpretrain.models.heads.regression_head')
    cfg = tiny_cls.config(tmp_path, hook=hook(ONE, 'distill'))
    cfg.model.head.update(type='LinearRegressionHead')
    with pytest.raises(ValueError, match="finds no logits .*on='features'"):
        Runner.from_cfg(cfg).train()


def test_a_head_for_other_classes_is_refused(tmp_path):
    cfg = tiny_cls.config(tmp_path)
    cfg.model.head.num_classes = 3
    cfg.custom_hooks = [
        dict(type='mwam_mm.BalanceHook', weigher=ONE, intervention='gradient')
    ]
    with pytest.raises(ValueError, match='model.head.num_classes=3'):
        Runner.from_cfg(cfg).train()


def test_mixed_labels_are_scored_by_the_loss(tmp_path):
    """OGM would take the label of one of the two images otherwise."""
    mixing = dict(
        batch_augments=dict(augments=dict(type='Mixup', alpha=1.)))
    cfg = tiny_cls.config(
        tmp_path, hook=hook(OGM, 'gradient'), model=tiny_cls.model(**mixing))
    runner = Runner.from_cfg(cfg)
    runner.train()
    balance, = (h for h in runner.hooks if type(h).__name__ == 'BalanceHook')
    assert balance.weigher.scores.kind == 'loss'
