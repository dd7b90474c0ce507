"""Comparators on a one-stage detector, whose scores are exp(-loss)."""
import copy
from math import exp, tanh

import pytest
import torch
from mmengine.runner import Runner

pytest.importorskip('mmdet')
from .. import tiny_det  # noqa: E402


def job(work_dir, weigher, intervention, **overrides):
    cfg = tiny_det.config(
        work_dir,
        max_iters=1,
        custom_hooks=[
            dict(type='mwam_mm.BalanceHook', weigher=weigher,
                 intervention=intervention)
        ],
        **overrides)
    cfg.train_dataloader.sampler.shuffle = False
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator',
                'test_dataloader', 'test_cfg', 'test_evaluator'):
        cfg.pop(key)
    return cfg


def k_of(runner):
    hook, = (h for h in runner.hooks if type(h).__name__ == 'BalanceHook')
    return hook.context.weights.tolist()


def test_ogm_by_the_losses_of_forwards_of_their_own(tmp_path):
    runner = Runner.from_cfg(job(
        tmp_path, dict(type='OGM', alpha=0.8, losses='loss_cls'), 'gradient'))
    runner.model.init_weights()
    model = copy.deepcopy(runner.model).train()
    runner.train()
    data = [tiny_det.TinyBoxes()[i] for i in range(4)]
    batch = model.data_preprocessor(
        dict(inputs=[d['inputs'] for d in data],
             data_samples=[d['data_samples'] for d in data]), True)
    scores = []
    for channels in (slice(0, 3), slice(3, 4)):
        kept = torch.zeros_like(batch['inputs'])
        kept[:, channels] = batch['inputs'][:, channels]
        with torch.no_grad():
            losses = model.loss(kept, batch['data_samples'])
        scores.append(exp(-losses['loss_cls'].item()))
    expected = [1 - tanh(0.8 * a / b) if a > b else 1.
                for a, b in (scores, scores[::-1])]
    assert k_of(runner) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize('weigher, intervention', [
    (dict(type='AGM'), 'update'),
    (dict(type='Constant'), 'mmpareto'),
])
def test_others_train(tmp_path, weigher, intervention):
    runner = Runner.from_cfg(job(tmp_path, weigher, intervention))
    runner.train()
    assert all(x == x for x in k_of(runner))
    for x in runner.model.state_dict().values():
        assert x.isfinite().all()


def test_lfm_is_refused(tmp_path):
    runner = Runner.from_cfg(job(tmp_path, dict(type='Constant'), 'lfm'))
    with pytest.raises(ValueError, match='"lfm".*class logits'):
        runner.train()
