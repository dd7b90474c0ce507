"""The hook on real Runners: exact weights, logs, checkpoints, errors."""
import glob
import json

import pytest
import torch
from mmengine.runner import Runner
from torch import nn

from mwam_mm.mwam import MWAM

from .. import tiny
from .ways import BRANCHES, mwam_hook

HOOK = dict(type='mwam_mm.MWAMHook', branches=BRANCHES)
WAYS = dict(
    hook=dict(hook=HOOK),
    neck=dict(mwam=dict(), hook=dict(type='mwam_mm.MWAMHook')))


def change(work_dir, **kwargs):
    """Each parameter's change by one SGD step, and the Runner.

    The learning rate is so large that rounding does not hide the change.
    """
    runner = Runner.from_cfg(
        tiny.config(
            work_dir,
            max_iters=1,
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e3)),
            **kwargs))
    return tiny.change(runner), runner


@pytest.mark.parametrize('way', WAYS)
def test_one_sgd_step_is_scaled_by_k(tmp_path, way):
    plain, _ = change(tmp_path / 'plain')
    weighted, runner = change(tmp_path / way, **WAYS[way])
    hook = mwam_hook(runner)
    k = dict(zip(hook.mwam.modalities, hook.mwam.weights.tolist()))
    assert abs(k['rgb'] - k['depth']) > 0.1
    scaled = 0
    for name, delta in plain.items():
        for modality, path in BRANCHES.items():
            if name.startswith(path + '.'):
                torch.testing.assert_close(
                    weighted[name],
                    k[modality] * delta,
                    rtol=1e-4,
                    atol=1e-5)
                scaled += bool((delta != 0).any())
                break
        else:
            assert torch.equal(weighted[name], delta), name
    assert scaled > 20


def test_k_is_that_of_the_normalised_inputs(tmp_path):
    batches = []

    class Spy(nn.Identity):

        def forward(self, data, training=False):
            data = self.inner(data, training)
            batches.append(data['inputs'].clone())
            return data

    runner = Runner.from_cfg(tiny.config(tmp_path, hook=HOOK, max_iters=3))
    spy = Spy()
    spy.inner = runner.model.data_preprocessor
    runner.model.data_preprocessor = spy
    runner.train()
    hook = mwam_hook(runner)
    mwam = MWAM(('rgb', 'depth'))
    for x in batches:
        mwam.update(dict(rgb=x[:, :3], depth=x[:, 3:]))
    assert len(batches) == 3
    assert torch.allclose(hook.mwam.frm, mwam.frm, rtol=1e-6)
    assert torch.allclose(hook.mwam.weights, mwam.weights, atol=1e-6)


@pytest.mark.parametrize('way', WAYS)
def test_k_and_frm_reach_the_vis_backend(tmp_path, way):
    runner = tiny.train(tmp_path / way, **WAYS[way])
    path, = glob.glob(f'{runner.work_dir}/*/vis_data/scalars.json')
    with open(path) as f:
        lines = [json.loads(line) for line in f]
    assert len(lines) == 4
    hook = mwam_hook(runner)
    for i, name in enumerate(('rgb', 'depth')):
        assert lines[-1][f'mwam/K_{name}'] == pytest.approx(
            hook.mwam.weights[i].item())
        assert lines[-1][f'mwam/FRM_{name}'] == pytest.approx(
            hook.mwam.frm[i].item())


@pytest.mark.parametrize('way', WAYS)
def test_resumed_training_continues_exactly(tmp_path, way):
    whole = tiny.train(tmp_path / 'whole', max_iters=6, **WAYS[way])
    # Killed in the sixth iteration; the last checkpoint is of the fourth.
    tiny.kill(tiny.config(tmp_path / 'killed', max_iters=6, **WAYS[way]), 5)
    resumed = Runner.from_cfg(
        tiny.config(
            tmp_path / 'killed', max_iters=6, resume=True, **WAYS[way]))
    resumed.train()
    assert resumed.iter == whole.iter == 6
    a, b = (mwam_hook(r).mwam for r in (whole, resumed))
    assert torch.equal(a.frm, b.frm)
    assert torch.equal(a.weights, b.weights)
    for p, q in zip(whole.model.parameters(), resumed.model.parameters()):
        assert torch.equal(p, q)


def test_the_bank_travels_in_the_checkpoint(tmp_path):
    runner = tiny.train(tmp_path, hook=HOOK)
    hook = mwam_hook(runner)
    state = torch.load(tmp_path / 'iter_4.pth', weights_only=False)['mwam']
    assert state['modalities'] == ['rgb', 'depth']
    assert torch.equal(state['bank']['values'], hook.mwam.bank.values.cpu())
    assert torch.equal(state['weights'], hook.mwam.weights.cpu())


def test_resuming_without_state_starts_cold_and_says_so(tmp_path, caplog):
    tiny.train(tmp_path, max_iters=2)
    runner = Runner.from_cfg(
        tiny.config(
            tmp_path, hook=HOOK, max_iters=4, resume=True, log_level='INFO'))
    messages = []
    runner.logger.info = messages.append
    runner.train()
    assert any('nothing under "mwam"' in m for m in messages)


def test_resuming_with_other_modalities_lists_both(tmp_path):
    tiny.train(tmp_path, hook=HOOK, max_iters=2)
    other = dict(
        HOOK, branches=dict(rgb=BRANCHES['rgb'], thermal=BRANCHES['depth']))
    runner = Runner.from_cfg(
        tiny.config(tmp_path, hook=other, max_iters=4, resume=True))
    with pytest.raises(ValueError, match='depth.*thermal'):
        runner.train()


def test_nothing_is_left_at_inference(tmp_path):
    plain = Runner.from_cfg(tiny.config(tmp_path / 'plain')).model
    neck = Runner.from_cfg(tiny.config(tmp_path / 'neck', mwam={})).model
    hooked = tiny.train(tmp_path / 'hook', hook=HOOK).model
    assert plain.state_dict().keys() == neck.state_dict().keys()
    assert plain.state_dict().keys() == hooked.state_dict().keys()
    x = torch.randn(2, 4, 32, 32)
    outputs = []
    for model in (hooked, neck, plain):
        model.load_state_dict(hooked.state_dict())
        model.cpu().eval()
        with torch.no_grad():
            outputs.append(model(x))
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])
    assert not any(m._forward_pre_hooks for m in hooked.modules())
    assert not any(p._backward_hooks for p in hooked.parameters())


def test_branches_as_lists_and_inputs(tmp_path):
    lists = {
        name: [
            f'{path}.{part}'
            for part in ('conv1', 'norm1', 'layer1', 'layer2')
        ]
        for name, path in BRANCHES.items()
    }
    for name in lists:  # norm layers are named gn1 here
        lists[name][1] = BRANCHES[name] + '.gn1'
    a, _ = change(tmp_path / 'a', hook=HOOK)
    b, _ = change(
        tmp_path / 'b',
        hook=dict(HOOK, branches=lists, inputs=dict(rgb=BRANCHES['rgb'])))
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.mark.parametrize('change_,message', [
    (dict(branches=dict(rgb='backbone.colour')), '"rgb".*backbone.colour'),
    (dict(branches=dict(BRANCHES, depth='backbone.branches')), 'share'),
    (dict(branches=dict(rgb=['neck.fusions.0.gates.rgb.0'])),
     '"rgb".*no parameter'),
    (dict(branches=dict(rgb='backbone.branches')), 'container'),
    (dict(inputs=dict(rgb='backbone.eye')), '"rgb".*backbone.eye'),
])
def test_what_does_not_fit_is_named(tmp_path, change_, message):
    hook = dict(HOOK, **change_)
    runner = Runner.from_cfg(tiny.config(tmp_path, hook=hook, max_iters=1))
    with pytest.raises(ValueError, match=message):
        runner.train()


def test_a_module_without_image_argument_is_refused(tmp_path):
    hook = dict(HOOK, inputs=dict(rgb='neck'))
    runner = Runner.from_cfg(tiny.config(tmp_path, hook=hook, max_iters=1))
    with pytest.raises(ValueError, match='"rgb".*MWAMHook.inputs'):
        runner.train()


def test_never_applied_twice(tmp_path):
    runner = Runner.from_cfg(tiny.config(tmp_path, mwam={}, hook=HOOK))
    with pytest.raises(ValueError, match='already.*model.mwam of mwam_mm.mul'):
        runner.train()


def test_without_branches_and_without_neck(tmp_path):
    runner = Runner.from_cfg(
        tiny.config(tmp_path, hook=dict(type='mwam_mm.MWAMHook')))
    with pytest.raises(ValueError, match='found 0.*model.mwam of mwam_mm.mul'):
        runner.train()


@pytest.mark.parametrize('kwargs,message', [
    (dict(intervention='magic', branches=BRANCHES), 'magic'),
    (dict(branches={}), 'empty'),
    (dict(mwam=dict(lam=3.)), 'model.neck.mwam .model.mwam of'),
    (dict(branches=BRANCHES, inputs=dict(thermal='x')), 'thermal'),
])
def test_wrong_arguments(kwargs, message):
    from mwam_mm.engine import MWAMHook
    with pytest.raises(ValueError, match=message):
        MWAMHook(**kwargs)


def test_the_neck_without_hook_says_what_is_lost(tmp_path, monkeypatch):
    from mwam_mm.models.necks import mwam_neck
    messages = []
    monkeypatch.setattr(mwam_neck, 'print_log',
                        lambda message, **kwargs: messages.append(message))
    tiny.train(tmp_path, mwam={}, max_iters=2)
    assert len(messages) == 1 and 'MWAMHook' in messages[0]
