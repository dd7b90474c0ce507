"""The interventions on real Runners, against independent computations."""
import copy
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from mmseg.models import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import nn

from mwam_mm.balance.builder import build_interventions
from mwam_mm.balance.interventions.dropout import drop_modalities
from mwam_mm.balance.interventions.gradient import is_adaptive
from mwam_mm.balance.interventions.update import scale_updates
from mwam_mm.layout import ModalityLayout
from mwam_mm.mwam import MWAM
from mwam_mm.mwam.dropout import keep_probabilities
from mwam_mm.registry import DATASETS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS

from .. import tiny
from .ways import BRANCHES, mwam_hook

# K = 0.5 for every modality, whatever the inputs.
HALF = dict(alpha=0.5, beta=0.)
SGD = dict(type='SGD', lr=1e3)  # so large that rounding does not hide a step
ADAMW = dict(type='AdamW', lr=0.1)  # weight decay 0.01 by default


def change(work_dir, optimizer=SGD, max_iters=1, **kwargs):
    """Each parameter's change in a training run, and the Runner."""
    kwargs.setdefault('optim_wrapper', dict(optimizer=optimizer))
    runner = Runner.from_cfg(
        tiny.config(work_dir, max_iters=max_iters, **kwargs))
    warnings = []
    runner.logger.warning = warnings.append
    changes = tiny.change(runner)
    runner.mwam_warnings = [w for w in warnings if 'MWAM' in w]
    return changes, runner


def ways(intervention, constants=None):
    """Neck and hook, and hook by path, as keyword arguments of ``change``."""
    return dict(
        neck=dict(
            mwam=constants or {},
            hook=dict(type='mwam_mm.MWAMHook', intervention=intervention)),
        path=dict(
            hook=dict(
                type='mwam_mm.MWAMHook',
                branches=BRANCHES,
                intervention=intervention,
                mwam=constants)))


def assert_scaled(scaled, plain, k, **tolerance):
    """``scaled`` is K times ``plain`` in the branches, the same elsewhere."""
    for name, delta in plain.items():
        factor = 1.
        for modality, path in BRANCHES.items():
            if name.startswith(path + '.') and modality in k:
                factor = k[modality]
        if factor == 1:
            assert torch.equal(scaled[name], delta), name
        else:
            torch.testing.assert_close(
                scaled[name], factor * delta, **tolerance)


@pytest.mark.parametrize('way', ('neck', 'path'))
def test_update_scales_a_step_of_sgd_by_k(tmp_path, way):
    plain, _ = change(tmp_path / 'plain')
    scaled, runner = change(tmp_path / 'scaled', **ways('update')[way])
    k = dict(zip(('rgb', 'depth'), mwam_hook(runner).mwam.weights.tolist()))
    assert abs(k['rgb'] - k['depth']) > 0.1
    assert_scaled(scaled, plain, k, rtol=1e-4, atol=1e-4)
    assert not runner.mwam_warnings


def test_update_after_a_compilation_by_pytorch_2_1(tmp_path, monkeypatch):
    """Which takes the step hooks off every class of optimizers for good."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group['params']:
                if p.grad is not None:
                    p -= group['lr'] * p.grad

    step.hooked = True
    monkeypatch.setattr(torch.optim.SGD, 'step', step)
    test_update_scales_a_step_of_sgd_by_k(tmp_path, 'neck')


@pytest.mark.parametrize('schedulers', ['before', 'after'])
def test_scaled_updates_beside_a_scheduler_of_pytorch(schedulers):
    branch = nn.Linear(2, 2)
    mwam = MWAM(['rgb'])
    mwam.weights.fill_(0.5)
    optimizer = torch.optim.SGD(branch.parameters(), 1.)

    def schedule():
        return torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.1)

    def step(lr, k):
        before = copy.deepcopy(branch.state_dict())
        branch(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        for key, value in branch.state_dict().items():
            torch.testing.assert_close(value, before[key] - lr * k)

    scheduler = schedule() if schedulers == 'before' else None
    handles = scale_updates(mwam, dict(rgb=list(branch.parameters())),
                            [optimizer])
    scheduler = scheduler or schedule()
    step(1, 0.5)
    mwam.weights = torch.tensor([0.25])  # each step takes the newest
    step(0.1, 0.25)
    for handle in handles:
        handle.remove()
    step(0.01, 1)


def test_adamw_one_branch_with_k_one_half(tmp_path):
    """`update` halves the change; `gradient` is divided out, and warned of."""
    plain, _ = change(tmp_path / 'plain', ADAMW)
    hook = dict(
        type='mwam_mm.MWAMHook',
        branches=dict(rgb=BRANCHES['rgb']),
        mwam=HALF)

    def warnings_of(runner):
        return [w for w in runner.mwam_warnings if 'only modality' not in w]

    half, runner = change(
        tmp_path / 'update', ADAMW, hook=dict(hook, intervention='update'))
    assert not warnings_of(runner)
    assert_scaled(half, plain, dict(rgb=0.5), rtol=1e-4, atol=1e-6)
    same, runner = change(tmp_path / 'gradient', ADAMW, hook=hook)
    warning, = warnings_of(runner)
    assert 'AdamW' in warning and 'intervention="update"' in warning
    # Adam's epsilon aside, which is added to the gradient's magnitude.
    changes = [(same[name], plain[name]) for name in plain
               if name.startswith(BRANCHES['rgb'])]
    a, b = (torch.cat([x.flatten() for x in xs]) for xs in zip(*changes))
    assert (a - b).norm() < 1e-2 * b.norm()


def test_update_leaves_the_optimizer_as_configured(tmp_path):
    schedule = dict(
        type='LinearLR', start_factor=0.5, end=4, by_epoch=False)
    paramwise = dict(custom_keys={'branches.rgb': dict(lr_mult=0.1)})
    states = []
    for name, kwargs in dict(
            plain={}, update=ways('update', HALF)['neck']).items():
        _, runner = change(
            tmp_path / name,
            max_iters=1,
            param_scheduler=[schedule],
            optim_wrapper=dict(optimizer=ADAMW, paramwise_cfg=paramwise),
            **kwargs)
        states.append(runner.optim_wrapper.state_dict())
    assert states[0]['param_groups'] == states[1]['param_groups']
    for a, b in zip(states[0]['state'].values(), states[1]['state'].values()):
        assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize('way', ('neck', 'path'))
def test_update_takes_the_k_of_the_last_micro_batch(tmp_path, way):
    wrapper = dict(optimizer=SGD, accumulative_counts=2)
    plain, _ = change(tmp_path / 'plain', max_iters=2, optim_wrapper=wrapper)
    scaled, runner = change(
        tmp_path / 'scaled',
        max_iters=2,
        optim_wrapper=wrapper,
        **ways('update')[way])
    k = dict(zip(('rgb', 'depth'), mwam_hook(runner).mwam.weights.tolist()))
    assert_scaled(scaled, plain, k, rtol=1e-4, atol=1e-4)


def test_gradients_that_are_there_where_k_is_0(tmp_path):
    """They are divided by K first, which must leave no NaN."""
    wrapper = dict(optimizer=SGD, accumulative_counts=2)
    plain, _ = change(tmp_path / 'plain', max_iters=2, optim_wrapper=wrapper)
    scaled, _ = change(
        tmp_path / 'scaled', max_iters=2, optim_wrapper=wrapper,
        hook=dict(
            type='mwam_mm.BalanceHook',
            branches=BRANCHES,
            weigher=dict(type='mwam_mm.Constant', k=dict(rgb=0., depth=1.))))
    for name, delta in plain.items():
        rgb = name.startswith(f'{BRANCHES["rgb"]}.')
        torch.testing.assert_close(
            scaled[name], delta * (not rgb), rtol=1e-4, atol=1e-3)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TinyTwoOptimizers:
    """One optimizer for the RGB branch, one for everything else."""

    def __init__(self, optim_wrapper_cfg, paramwise_cfg=None):
        pass

    def __call__(self, model):
        rgb = list(model.backbone.branches['rgb'].parameters())
        rest = [
            p for n, p in model.named_parameters()
            if not n.startswith(BRANCHES['rgb'])
        ]
        return OptimWrapperDict(
            rgb=OptimWrapper(torch.optim.SGD(rgb, 1e3)),
            rest=OptimWrapper(torch.optim.SGD(rest, 1e3)))


@MODELS.register_module()
class TinyTwoSteps(EncoderDecoder):

    def train_step(self, data, optim_wrapper):
        data = self.data_preprocessor(data, True)
        loss, logs = self.parse_losses(self._run_forward(data, mode='loss'))
        for wrapper in optim_wrapper.values():
            wrapper.zero_grad()
        loss.backward()
        for wrapper in optim_wrapper.values():
            wrapper.step()
        return logs


@pytest.mark.parametrize('way', ('neck', 'path'))
def test_update_with_several_optimizers(tmp_path, way):
    plain, _ = change(tmp_path / 'plain')
    kwargs = ways('update', HALF)[way]
    model = dict(tiny.model(kwargs.get('mwam')), type='mwam_mm.TinyTwoSteps')
    scaled, _ = change(
        tmp_path / 'scaled',
        model=model,
        optim_wrapper=dict(constructor='mwam_mm.TinyTwoOptimizers'),
        **kwargs)
    assert_scaled(
        scaled, plain, dict(rgb=0.5, depth=0.5), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(
    not hasattr(torch.amp, 'GradScaler'),
    reason='this PyTorch scales losses on GPUs only')
def test_a_step_that_the_scaler_skips_does_nothing():
    branch = nn.Linear(2, 2)
    mwam = MWAM(['rgb'])
    mwam.weights.fill_(0.5)
    optimizer = torch.optim.SGD(branch.parameters(), 1.)
    scale_updates(mwam, dict(rgb=list(branch.parameters())), [optimizer])
    scaler = torch.amp.GradScaler('cpu', init_scale=8.)
    before = copy.deepcopy(branch.state_dict())

    def step(loss):
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        return branch.state_dict()

    x = torch.ones(1, 2)
    after = step(branch(x).sum() * float('inf'))
    assert all(torch.equal(after[key], before[key]) for key in before)
    after = step(branch(x).sum())
    for key in before:  # the gradient is 1, the learning rate 1, K 0.5
        torch.testing.assert_close(after[key], before[key] - 0.5)


def test_both_scalings_are_allowed_and_warned_of(tmp_path):
    plain, _ = change(tmp_path / 'plain')
    both = ways(['gradient', 'update'], HALF)['neck']
    scaled, runner = change(tmp_path / 'both', **both)
    assert_scaled(
        scaled, plain, dict(rgb=0.25, depth=0.25), rtol=1e-4, atol=1e-4)
    assert len(runner.mwam_warnings) == 1 and 'twice' in \
        runner.mwam_warnings[0]


def test_update_needs_the_branches_in_an_optimizer():
    branch = nn.Linear(2, 2)
    with pytest.raises(ValueError, match='"rgb".*use "gradient"'):
        scale_updates(
            MWAM(['rgb']), dict(rgb=list(branch.parameters())),
            [torch.optim.SGD(nn.Linear(1, 1).parameters(), 1.)])


@pytest.mark.parametrize('name,adaptive', [
    ('Adam', True), ('AdamW', True), ('NAdam', True), ('RMSprop', True),
    ('Adagrad', True), ('SGD', False), ('ASGD', False)
])
def test_adaptive_optimizers(name, adaptive):
    cls = getattr(torch.optim, name)
    mine = type('Mine', (cls, ), {})
    for one in (cls, mine):
        optimizer = one(nn.Linear(1, 1).parameters(), lr=0.1)
        assert is_adaptive(optimizer) == adaptive
        # as MMEngine's ZeroRedundancyOptimizer holds it
        assert is_adaptive(SimpleNamespace(optim=optimizer)) == adaptive


@pytest.mark.parametrize('intervention,message', [
    ('magic', r"\['magic'\].*gradient.*update"),
    ([], 'empty'),
    (['update', 'update'], 'twice'),
])
def test_wrong_interventions(intervention, message):
    with pytest.raises(ValueError, match=message):
        build_interventions(intervention, 'MWAMHook.intervention')


@DATASETS.register_module()
class TinyPacked(tiny.TinyPairs):
    """Keeps its samples; the first lacks depth."""

    def __init__(self, pipeline=None, **kwargs):
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.items = [super(TinyPacked, self).__getitem__(i) for i in range(8)]
        self.items[0]['data_samples'].set_metainfo(
            dict(absent_modalities=('depth', )))

    def __getitem__(self, i):
        return dict(self.items[i])


PACKED = dict(
    train_dataloader=dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        dataset=dict(type='mwam_mm.TinyPacked')))


def dropout_config(work_dir, intervention='dropout', **kwargs):
    return tiny.config(
        work_dir,
        mwam=dict(),
        hook=dict(type='mwam_mm.MWAMHook', intervention=intervention),
        **{**PACKED, **kwargs})


def by_hand(k, rng):
    """A draw of what is dropped, for both modalities present."""
    rgb = k['rgb'] / (k['rgb'] + k['depth'])
    p = [1 / 3, 2 / 3 * rgb, 2 / 3 * (1 - rgb)]
    return [(), ('depth', ), ('rgb', )][rng.choice(3, p=p)]


def test_dropout_follows_the_k_of_the_previous_iteration(tmp_path):
    runner = Runner.from_cfg(dropout_config(tmp_path, max_iters=6))
    k = [dict(rgb=1., depth=1.)]
    seen = []
    step = runner.model.train_step

    def spy(data, optim_wrapper):
        outputs = step(data, optim_wrapper)
        mwam = mwam_hook(runner).mwam
        k.append(dict(zip(mwam.modalities, mwam.weights.tolist())))
        seen.append(data['data_samples'])
        return outputs

    runner.model.train_step = spy
    inputs = []
    runner.model.backbone.register_forward_pre_hook(
        lambda module, args: inputs.append(args[0].clone()))
    runner.train()
    assert len(seen) == 6 and abs(k[-1]['rgb'] - k[-1]['depth']) > 0.1
    patterns = Counter()
    for i, samples in enumerate(seen):
        rng = np.random.default_rng([0, 0, i])
        for sample, x in zip(samples, inputs[i]):
            if sample.img_path == '0.png':  # has RGB only, which it keeps
                rng.choice(1, p=[1.])
                dropped = ('depth', )
            else:
                dropped = by_hand(k[i], rng)
            assert sample.absent_modalities == dropped
            assert x[:3].any() == ('rgb' not in dropped)
            assert x[3:].any() == ('depth' not in dropped)
            patterns[dropped] += 1
            assert torch.equal(
                sample.gt_sem_seg.data,
                runner.train_dataloader.dataset.label[int(
                    sample.img_path[0])])
    assert len(patterns) == 3
    # The dataset's own samples stay as they are.
    for item in runner.train_dataloader.dataset.items[1:]:
        assert 'absent_modalities' not in item['data_samples'].metainfo


def test_dropout_frequencies():
    """In detection, with three modalities: 7 subsets, 4,000 samples."""
    pytest.importorskip('mmcv.ops')
    DetDataSample = pytest.importorskip('mmdet.structures').DetDataSample
    mwam = MWAM(['rgb', 'depth', 'thermal'])
    mwam.weights = torch.tensor([1.4, 0.6, 1.0])
    layout = ModalityLayout({n: dict(channels=1) for n in mwam.modalities})
    boxes = InstanceData(bboxes=torch.rand(1, 4))
    count = Counter()
    for i in range(40):
        batch = dict(
            inputs=[torch.ones(3, 4, 4)] * 100,
            data_samples=[DetDataSample(gt_instances=boxes)
                          for _ in range(100)])
        drop_modalities(SimpleNamespace(seed=7, iter=i), batch, mwam, layout)
        for sample in batch['data_samples']:
            assert torch.equal(sample.gt_instances.bboxes, boxes.bboxes)
            count[sample.absent_modalities] += 1
    means = {
        ('thermal', ): 1.0, ('depth', ): 1.2, ('rgb', ): 0.8,
        ('depth', 'thermal'): 1.4, ('rgb', 'thermal'): 0.6,
        ('rgb', 'depth'): 1.0
    }
    assert count.keys() == {(), *means}
    for absent, n in count.items():
        p = means[absent] / 7 if absent else 1 / 7
        assert abs(n / 4000 - p) < 4 * (p * (1 - p) / 4000)**0.5, absent


def test_dropout_keeps_nothing_blank_alone():
    """A depth map of one hole is its mean everywhere."""
    layout = ModalityLayout(tiny.MODALITIES)
    image = torch.rand(4, 20, 20)
    image[3] = layout['depth'].mean[0]
    for depth, kept in ((image[3], {(), ('depth', )}),
                        (image[0], {(), ('depth', ), ('rgb', )})):
        batch = dict(
            inputs=[torch.cat([image[:3], depth[None]])] * 100,
            data_samples=[SegDataSample() for _ in range(100)])
        drop_modalities(
            SimpleNamespace(seed=0, iter=0), batch, MWAM(['rgb', 'depth']),
            layout)
        assert {s.absent_modalities for s in batch['data_samples']} == kept
    # K allows nothing but the hole: all is kept.
    batch = dict(inputs=[image], data_samples=[SegDataSample()])
    drop_modalities(
        SimpleNamespace(seed=0, iter=0), batch,
        SimpleNamespace(modalities=('rgb', 'depth'),
                        weights=torch.tensor([0., 1.])),
        layout, keep_probabilities)
    assert batch['data_samples'][0].absent_modalities == ()


def test_dropout_alone_scales_no_gradient(tmp_path):
    """Before the first K, which is 1, the patterns are uniform."""
    _, runner = change(
        tmp_path, mwam={}, hook=dict(
            type='mwam_mm.MWAMHook', intervention='dropout'))
    assert list(mwam_hook(runner).interventions) == ['dropout']
    alone, _ = change(tmp_path / 'alone', **ways('dropout')['neck'])
    both, runner = change(
        tmp_path / 'both', **ways(['dropout', 'gradient'])['neck'])
    k = dict(zip(('rgb', 'depth'), mwam_hook(runner).mwam.weights.tolist()))
    assert_scaled(both, alone, k, rtol=1e-4, atol=1e-4)


def test_dropout_resumes_exactly(tmp_path):
    kwargs = dict(intervention=['dropout', 'update'], max_iters=6)
    whole = Runner.from_cfg(dropout_config(tmp_path / 'whole', **kwargs))
    whole.train()
    tiny.kill(dropout_config(tmp_path / 'killed', **kwargs), 5)
    resumed = Runner.from_cfg(
        dropout_config(tmp_path / 'killed', resume=True, **kwargs))
    resumed.train()
    for p, q in zip(whole.model.parameters(), resumed.model.parameters()):
        assert torch.equal(p, q)


def test_dropout_that_cannot_work_is_refused(tmp_path):
    from mwam_mm.datasets.transforms import RandomDropModality
    drop = RandomDropModality(['rgb', 'depth'])
    cfg = dropout_config(tmp_path / 'a')
    runner = Runner.from_cfg(cfg)
    runner.train_loop.dataloader.dataset.pipeline = [
        SimpleNamespace(transforms=[drop])
    ]
    with pytest.raises(ValueError, match='take RandomDropModality out'):
        runner.train()
    cfg = dropout_config(tmp_path / 'b')
    cfg.model.data_preprocessor = dict(type='SegDataPreProcessor')
    with pytest.raises(ValueError, match='SegDataPreProcessor does not read'):
        Runner.from_cfg(cfg).train()
    cfg = dropout_config(tmp_path / 'c')
    cfg.model.neck.mwam = None
    cfg.custom_hooks[0].branches = dict(rgb=BRANCHES['rgb'])
    with pytest.raises(ValueError, match=r"\['rgb'\].*\['rgb', 'depth'\]"):
        Runner.from_cfg(cfg).train()
    for batch in ([], dict(inputs=[]), dict(data_samples=[dict()])):
        with pytest.raises(TypeError, match='data samples'):
            drop_modalities(None, batch, MWAM(['rgb']), None)


def test_the_measured_example_of_the_docs(capsys):
    docs = Path(__file__).resolve().parents[2] / 'docs/interventions.md'
    text = docs.read_text()
    code, = (block.split('```')[0] for block in text.split('```python\n')
             if block.startswith('import torch'))
    exec(code, {})
    assert f'```\n{capsys.readouterr().out}```' in text
