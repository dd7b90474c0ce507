"""MWAM in the set-ups of training, on real Runners; see docs/setups.md.

What needs several processes is in test_distributed.py.
"""
import copy
import re
from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner

from mwam_mm.mwam import MWAM

from .ways import (
    BRANCHES,
    STAGES,
    WAYS,
    k_of_every_iteration,
    mwam_hook,
    way_config,
)

LR = 0.5
ways = pytest.mark.parametrize('way', WAYS)


def job(work_dir, way, optim_wrapper=None, **kwargs):
    cfg = way_config(
        work_dir,
        way,
        optim_wrapper=dict(
            dict(optimizer=dict(type='SGD', lr=LR)), **(optim_wrapper or {})),
        **dict(dict(max_iters=3), **kwargs))
    cfg.train_dataloader.sampler.shuffle = False
    cfg.train_dataloader.dataset.size = 12
    return cfg


def train(cfg):
    """K of every iteration and the trained Runner."""
    runner = Runner.from_cfg(cfg)
    # First, as the stacks draw different numbers before they initialise.
    runner.model.init_weights()
    history = k_of_every_iteration(runner)
    runner.train()
    return torch.stack(history), runner


def parameters(runner):
    return dict(runner.model.named_parameters())


def assert_same(a, b, **tolerance):
    """Two trained models, and all that MWAM keeps, are the same."""
    for (k, runner), (other_k, other) in [(a, b)]:
        assert torch.equal(k, other_k)
        assert torch.equal(mwam_hook(runner).mwam.frm,
                           mwam_hook(other).mwam.frm)
        for name, p in parameters(runner).items():
            torch.testing.assert_close(
                parameters(other)[name], p, **(tolerance or dict(
                    rtol=0, atol=0)))


def by_hand(tmp_path, scale_gradients, clip=None):
    """One SGD step on three micro-batches, without MWAM's hook and neck.

    Returns:
        tuple: The parameters before and after it, and K after each batch.
    """
    runner = Runner.from_cfg(job(tmp_path / 'by_hand', ''))
    runner.model.init_weights()
    model = runner.model
    before = copy.deepcopy(parameters(runner))
    mwam = MWAM(('rgb', 'depth'))
    weights = []
    grads = {name: torch.zeros_like(p) for name, p in before.items()}
    for _, batch in zip(range(3), runner.build_dataloader(
            runner.cfg.train_dataloader)):
        data = model.data_preprocessor(batch, True)
        x = data['inputs']
        k = mwam.update(dict(rgb=x[:, :3], depth=x[:, 3:]))
        weights.append(k.cpu())
        model.zero_grad()
        model.parse_losses(model(**data, mode='loss'))[0].backward()
        for name, p in model.named_parameters():
            if p.grad is not None:
                factor = k[branch_of(name)] if (
                    scale_gradients and branch_of(name) is not None) else 1
                grads[name] += p.grad * factor / 3
    if clip is not None:
        norm = sum(g.square().sum() for g in grads.values()).sqrt()
        assert norm > clip
        grads = {name: g * clip / norm for name, g in grads.items()}
    return before, {n: p - LR * grads[n] for n, p in before.items()}, weights


def branch_of(name):
    """The index of the modality whose branch has the parameter."""
    for i, path in enumerate(BRANCHES.values()):
        if name.startswith(f'{path}.'):
            return i


@pytest.mark.parametrize('clip', [None, 0.002])
@pytest.mark.parametrize('way', [w for w in WAYS if 'gradient' in w])
def test_accumulated_gradients_have_each_batch_s_k(tmp_path, way, clip):
    """And clipping sees the scaled gradients."""
    _, after, weights = by_hand(tmp_path, True, clip)
    k, runner = train(
        job(tmp_path / way, way,
            dict(
                accumulative_counts=3,
                clip_grad=clip and dict(max_norm=clip))))
    torch.testing.assert_close(k, torch.stack(weights))
    assert (k[0] - k[2]).abs().max() > 0.01
    for name, p in parameters(runner).items():
        torch.testing.assert_close(p, after[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('clip', [None, 0.002])
@pytest.mark.parametrize('way', [w for w in WAYS if 'update' in w])
def test_the_update_of_accumulated_gradients_has_the_last_k(
        tmp_path, way, clip):
    before, after, weights = by_hand(tmp_path, False, clip)
    k, runner = train(
        job(tmp_path / way, way,
            dict(
                accumulative_counts=3,
                clip_grad=clip and dict(max_norm=clip))))
    torch.testing.assert_close(k, torch.stack(weights))
    for name, p in parameters(runner).items():
        i = branch_of(name)
        factor = 1 if i is None else weights[-1][i]
        expected = before[name] + factor * (after[name] - before[name])
        torch.testing.assert_close(p, expected, rtol=1e-4, atol=1e-6)


@ways
def test_mixed_precision(tmp_path, amp, way):
    """The same K as in float32: what is measured is not rounded."""
    k, _ = train(job(tmp_path / 'full', way))
    mixed_k, runner = train(
        job(tmp_path / 'mixed', way,
            dict(type='AmpOptimWrapper', dtype='bfloat16')))
    assert torch.equal(k, mixed_k)
    assert all(p.isfinite().all() for p in runner.model.parameters())


@pytest.mark.skipif(
    not hasattr(torch.amp, 'GradScaler') and not torch.cuda.is_available(),
    reason='this PyTorch has no GradScaler for CPUs')
@ways
def test_a_step_that_the_scaler_skips(tmp_path, amp, way):
    """It changes no parameter, and the bank goes on.

    The loss is made large so that its gradient at the first scale, 2^127, is
    infinite even in bfloat16. At the second, 2^-13, it is of the size that it
    has without either, which fits float16 as well.
    """
    k, _ = train(job(tmp_path / 'full', way))
    cfg = job(
        tmp_path / 'mixed', way,
        dict(
            type='AmpOptimWrapper',
            optimizer=dict(type='SGD', lr=LR / 2**13),
            dtype='float16' if torch.cuda.is_available() else 'bfloat16',
            loss_scale=dict(init_scale=2.**127, backoff_factor=2.**-140)))
    cfg.model.decode_head.loss_decode = dict(
        type='mmseg.CrossEntropyLoss', loss_weight=2.**13)
    runner = Runner.from_cfg(cfg)
    runner.model.init_weights()
    history = k_of_every_iteration(runner)
    seen = []
    step = runner.model.train_step

    def spy(*args, **kwargs):
        before = copy.deepcopy(parameters(runner))
        output = step(*args, **kwargs)
        seen.append(all(
            torch.equal(p, before[n]) for n, p in parameters(runner).items()))
        return output

    runner.model.train_step = spy
    runner.train()
    assert seen == [True, False, False]
    assert torch.equal(torch.stack(history), k)


EMA = dict(type='EMAHook', momentum=0.1)
SWA = dict(type='EMAHook', ema_type='StochasticWeightAverage')


@pytest.mark.parametrize('way, average', [(way, EMA) for way in WAYS] +
                         [('neck-loss', SWA)])
def test_averaged_models(tmp_path, way, average):
    """Training is as without, and the average in the checkpoint loads."""
    plain = train(job(tmp_path / 'plain', way))
    cfg = job(tmp_path / 'averaged', way)
    cfg.default_hooks.checkpoint.interval = 3
    cfg.custom_hooks.append(average)
    averaged = train(cfg)
    assert_same(plain, averaged)
    checkpoint = torch.load(tmp_path / 'averaged/iter_3.pth',
                            weights_only=False)
    model = Runner.from_cfg(job(tmp_path / 'loaded', '')).model
    model.load_state_dict(checkpoint['state_dict'])
    assert any(not torch.equal(p, parameters(averaged[1])[n])
               for n, p in model.named_parameters())
    assert torch.equal(checkpoint['mwam']['weights'], plain[0][-1])


# Tracing takes its time, so one of each intervention.
@pytest.mark.parametrize('way',
                         ['hook-gradient', 'neck-update', 'neck-dropout'])
def test_compiled_model(tmp_path, way):
    cfgs = [
        job(tmp_path / 'plain', way, max_iters=1),
        # The code that "inductor" would generate is the one difference.
        job(tmp_path / 'compiled', way, max_iters=1,
            compile=dict(backend='eager'))
    ]
    if torch.cuda.is_available():
        # A compiled model measures FRM by PyTorch's operators, another one on
        # a GPU by a kernel, and where a coefficient nearly vanishes the ratio
        # magnifies the rounding. With this option both take the operators.
        for cfg in cfgs:
            owner = (cfg.custom_hooks[0]
                     if way.startswith('hook') else cfg.model.neck)
            owner.mwam = dict(flip='map')
    plain, compiled = map(train, cfgs)
    assert_same(plain, compiled, rtol=1e-4, atol=1e-5)


def test_compiled_model_with_the_weighted_loss_is_refused(tmp_path):
    with pytest.raises(ValueError, match='"loss".*compile'):
        Runner.from_cfg(job(tmp_path, 'neck-loss', compile=True)).train()


@ways
def test_activation_checkpointing_inside_the_branches(tmp_path, way):
    plain = train(job(tmp_path / 'plain', way))
    cfg = job(tmp_path / 'recomputed', way, activation_checkpointing=STAGES)
    assert_same(plain, train(cfg))


@pytest.mark.parametrize('way, path', [(way, 'backbone') for way in WAYS] +
                         [('hook-update', 'backbone.branches.depth'),
                          ('neck-update', 'backbone.branches.depth')])
def test_activation_checkpointing_of_whole_branches_is_refused(
        tmp_path, way, path):
    cfg = job(tmp_path, way, activation_checkpointing=path)
    with pytest.raises(ValueError, match=f'"{path}".*inside the branches'):
        Runner.from_cfg(cfg).train()


def test_activation_checkpointing_of_the_neck_is_refused(tmp_path):
    cfg = job(tmp_path, 'neck-gradient', activation_checkpointing='neck')
    with pytest.raises(ValueError, match='count a batch twice'):
        Runner.from_cfg(cfg).train()


@pytest.mark.parametrize('way', ['neck-loss', 'neck-dropout'])
def test_accumulation_and_clipping(tmp_path, way):
    """One step of three batches, whose gradients are clipped to a norm."""
    k, runner = train(
        job(tmp_path / 'clipped', way,
            dict(accumulative_counts=3, clip_grad=dict(max_norm=0.002))))
    _, start = train(job(tmp_path / 'start', way, dict(
        optimizer=dict(type='SGD', lr=0.), accumulative_counts=3)))
    moved = sum((p - parameters(start)[n]).square().sum()
                for n, p in parameters(runner).items()).sqrt()
    torch.testing.assert_close(moved.item(), LR * 0.002, rtol=1e-3, atol=0)
    assert len(k) == 3


@pytest.mark.parametrize('way', ['neck-loss', 'neck-dropout'])
def test_adamw_does_not_undo_what_acts_elsewhere(tmp_path, way):
    """K makes a difference, and nobody is warned."""
    after = []
    for name, constants in dict(k={}, one=dict(alpha=1., beta=0.)).items():
        cfg = job(tmp_path / name, way, dict(
            optimizer=dict(type='AdamW', lr=0.01)), max_iters=6)
        cfg.model.neck.mwam = constants
        runner = Runner.from_cfg(cfg)
        runner.model.init_weights()
        warnings = []
        runner.logger.warning = warnings.append
        runner.train()
        assert not any('AdamW' in warning for warning in warnings)
        after.append(torch.cat([
            p.detach().flatten() for p in runner.model.parameters()]))
    assert (after[0] - after[1]).abs().max() > 0.01


def test_the_tests_named_in_the_docs_exist():
    folder = Path(__file__).parent
    text = (folder.parents[1] / 'docs' / 'setups.md').read_text()
    named = set(re.findall(r'`(\w+)::(\w+)`', text))
    assert len(named) > 20
    for module, name in named:
        assert f'def {name}(' in (folder / f'test_{module}.py').read_text()
