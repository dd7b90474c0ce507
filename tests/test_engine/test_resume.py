"""Killed and resumed runs against whole ones, with all that draws numbers.

With ``save_best`` a validation writes the checkpoint before it once more.
"""
import gc
import random

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.registry import LOOPS as LOOPS_OF_MMENGINE
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from mmengine.utils import apply_to

from mwam_mm.config import parameter_of
from mwam_mm.layout import ModalityLayout
from mwam_mm.registry import DATASETS

from .. import tiny
from .ways import k_of_every_iteration, mwam_hook, way_config


@DATASETS.register_module()
class RandomPairs(tiny.TinyPairs):
    """Augmented by all three generators; says what it drew."""

    drawn = []

    def __getitem__(self, i):
        item = super().__getitem__(i)
        draw = [np.random.rand(), random.random(), torch.rand(1).item()]
        self.drawn.append([i, *draw])
        item['inputs'][:3] += 10 * sum(draw)
        return item


LOOPS = dict(
    epochs=(
        dict(type='EpochBasedTrainLoop', max_epochs=6, val_interval=2),
        dict(type='CheckpointHook', interval=2, by_epoch=True,
             save_best='mIoU'),
        'epoch_4.pth'),
    iterations=(
        dict(type='IterBasedTrainLoop', max_iters=6, val_interval=2),
        dict(type='CheckpointHook', interval=2, by_epoch=False,
             save_best='mIoU'),
        'iter_4.pth'))


def config(work_dir, way, loop, **kwargs):
    train_cfg, checkpoint, _ = LOOPS[loop]
    data = dict(num_workers=0, dataset=dict(type='mwam_mm.TinyPairs', size=4))
    cfg = way_config(
        work_dir,
        way,
        train_cfg=train_cfg,
        val_cfg=dict(type='ValLoop'),
        val_dataloader=dict(
            data, sampler=dict(type='DefaultSampler', shuffle=False)),
        val_evaluator=dict(type='mmseg.IoUMetric'),
        **kwargs)
    cfg.default_hooks.checkpoint = checkpoint
    cfg.default_hooks.sampler_seed = dict(type='DistSamplerSeedHook')
    cfg.default_hooks.random_state = dict(type='mwam_mm.RandomStateHook')
    cfg.train_dataloader.dataset.type = 'mwam_mm.RandomPairs'
    cfg.model.decode_head.dropout_ratio = 0.5
    if loop == 'epochs':  # of one iteration each
        cfg.train_dataloader.dataset.size = 4
        cfg.train_dataloader.sampler.type = 'DefaultSampler'
    return cfg


def run(cfg, hook=None):
    """The Runner, K and the draws of every iteration."""
    RandomPairs.drawn = []
    runner = Runner.from_cfg(cfg)
    if hook is not None:
        runner.register_hook(hook)
    history = k_of_every_iteration(runner)
    runner.train()
    return runner, history, RandomPairs.drawn


def assert_goes_on_exactly(tmp_path, way, loop, hook=None):
    """A resumed run, with a hook of its own, ends as a whole one does."""
    whole, k, drawn = run(config(tmp_path / 'whole', way, loop))
    tiny.kill(config(tmp_path / 'killed', way, loop), 5)
    last = (tmp_path / 'killed/last_checkpoint').read_text()
    assert last.endswith(LOOPS[loop][2])
    random.seed(1)
    np.random.seed(1)
    cfg = config(tmp_path / 'killed', way, loop, resume=True)
    resumed, k_after, drawn_after = run(cfg, hook)
    assert resumed.iter == whole.iter == 6
    assert torch.equal(torch.stack(k_after), torch.stack(k[4:]))
    # The official MMEngine loads the batches that it skips.
    assert drawn_after[-8:] == drawn[-8:]
    assert torch.equal(
        mwam_hook(resumed).mwam.frm, mwam_hook(whole).mwam.frm)
    for p, q in zip(whole.model.parameters(), resumed.model.parameters()):
        assert torch.equal(p, q)


ways = pytest.mark.parametrize('way',
                               ['hook-update', 'neck-loss', 'neck-dropout'])
loops = pytest.mark.parametrize('loop', LOOPS)


@ways
@loops
def test_a_resumed_run_goes_on_exactly(tmp_path, way, loop):
    assert_goes_on_exactly(tmp_path, way, loop)


@DATASETS.register_module()
class NotedPairs(RandomPairs):
    """Each sample says what was drawn for it."""

    def __getitem__(self, i):
        item = super().__getitem__(i)
        item['data_samples'].set_metainfo(dict(drawn=self.drawn[-1]))
        return item


class Drawn(Hook):
    """Keeps what was drawn for the samples of each batch."""

    def __init__(self):
        self.batches = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.batches.append([s.drawn for s in data_batch['data_samples']])


def with_workers(cfg, num, persistent=False):
    cfg.train_dataloader.update(
        num_workers=num, persistent_workers=persistent)
    cfg.train_dataloader.dataset.update(type='mwam_mm.NotedPairs', size=16)
    return cfg


def run_and_note(cfg):
    drawn = Drawn()
    runner, _, _ = run(cfg, drawn)
    return runner, drawn.batches


@pytest.fixture
def workers_end_soon(monkeypatch):
    """Those that the garbage collector ends are waited for 5 seconds each."""
    monkeypatch.setattr(torch.utils.data._utils, 'MP_STATUS_CHECK_INTERVAL',
                        0.05)
    # MMEngine waits where the data end.
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', lambda _: None)
    yield
    gc.collect()


def assert_no_number_repeats(batches):
    """No batch, in whatever epoch, has what was drawn for another."""
    numbers = [x for batch in batches for _, *draws in batch for x in draws]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.usefixtures('workers_end_soon')
@pytest.mark.parametrize('persistent', [False, True])
@pytest.mark.parametrize('loop, sampler, killed_in, left', [
    ('iterations', 'InfiniteSampler', 5, 2),
    ('iterations', 'DefaultSampler', 5, 2),  # which ends after 4 batches
    ('epochs', 'DefaultSampler', 20, 8)
])
def test_workers_go_on_exactly(tmp_path, loop, sampler, killed_in, left,
                               persistent):
    """Whichever of them loads the first batch, here not the next in turn."""

    def cfg(name, **kwargs):
        cfg = with_workers(
            config(tmp_path / name, 'neck-dropout', loop, **kwargs), 3,
            persistent)
        cfg.train_dataloader.sampler.type = sampler
        return cfg

    whole, drawn = run_and_note(cfg('whole'))
    tiny.kill(cfg('killed'), killed_in)
    resumed, drawn_after = run_and_note(cfg('killed', resume=True))
    assert resumed.iter == whole.iter
    assert drawn_after == drawn[-left:]
    assert_no_number_repeats(drawn)
    for p, q in zip(whole.model.parameters(), resumed.model.parameters()):
        assert torch.equal(p, q)


@pytest.mark.usefixtures('workers_end_soon')
def test_workers_that_start_again_draw_other_numbers(tmp_path):
    """MMEngine starts them again where training goes on by itself."""
    drawn = Drawn()
    cfg = with_workers(config(tmp_path, 'hook-gradient', 'iterations'), 2)
    runner = Runner.from_cfg(cfg)
    runner.register_hook(drawn)
    runner.train()
    runner.train_loop._max_iters = 12
    runner.train()
    assert len(drawn.batches) == 12
    assert_no_number_repeats(drawn.batches)


@pytest.mark.usefixtures('workers_end_soon')
@pytest.mark.skipif(
    parameter_of(IterBasedTrainLoop, 'fast_forward_on_resume') is None,
    reason='MMEngine skips the batches that the interrupted run had')
def test_batches_that_are_not_skipped_are_augmented_anew(tmp_path):
    """The order of the data begins again."""
    cfg = with_workers(config(tmp_path, 'hook-gradient', 'iterations'), 2)
    cfg.train_cfg.fast_forward_on_resume = True
    _, drawn = run_and_note(cfg)
    cfg.resume, cfg.train_cfg.max_iters = True, 12
    _, drawn_after = run_and_note(cfg)
    order, again = ([[i for i, *_ in batch] for batch in batches]
                    for batches in (drawn, drawn_after))
    assert order == again
    assert_no_number_repeats(drawn + drawn_after)


class OwnLoader:
    """Has workers that are not PyTorch's."""
    num_workers = 2

    def __init__(self, loader):
        self.dataset, self.sampler = loader.dataset, loader.sampler

    def __len__(self):
        return 1

    def __iter__(self):
        yield pseudo_collate([self.dataset[i] for i in range(4)])


@LOOPS_OF_MMENGINE.register_module()
class OwnLoaderLoop(EpochBasedTrainLoop):

    def __init__(self, runner, dataloader, **kwargs):
        super().__init__(runner, dataloader, **kwargs)
        self.dataloader = OwnLoader(self.dataloader)


def test_a_loader_of_ones_own(tmp_path):
    cfg = config(tmp_path, 'hook-gradient', 'epochs')
    cfg.train_cfg.type = 'OwnLoaderLoop'
    runner, _, _ = run(cfg)
    assert runner.iter == 6


@pytest.mark.usefixtures('workers_end_soon')
def test_samples_may_be_collated_outside_of_workers(tmp_path):
    cfg = with_workers(config(tmp_path, 'hook-gradient', 'iterations'), 1)
    runner, _ = run_and_note(cfg)
    state = torch.get_rng_state()
    assert runner.train_dataloader.collate_fn([dict(a=1)]) == dict(a=[1])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.usefixtures('workers_end_soon')
def test_what_workers_draw_does_not_depend_on_their_number(tmp_path):
    one, other = (
        run_and_note(
            with_workers(
                config(tmp_path / str(num), 'hook-gradient', 'epochs'),
                num))[1] for num in (1, 3))
    assert len(one) == 24 and one == other


class Elsewhere(torch.Tensor):
    """Behaves as if it were on a GPU: NumPy cannot read it, and it does not
    mix with tensors on the CPU."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = function.__name__
        if name in ('numpy', '__array__', 'data_ptr', 'set_rng_state'):
            raise TypeError(f'{name}: the tensor is not on the CPU')
        moves = name in ('cpu', 'to', 'copy_')
        tensors = []
        apply_to([*args, *(kwargs or {}).values()],
                 lambda x: isinstance(x, torch.Tensor), tensors.append)
        if not moves and any(
                not isinstance(x, cls) and x.ndim > 0 for x in tensors):
            raise RuntimeError(f'{name}: tensors on different devices')
        out = super().__torch_function__(function, types, args, kwargs)
        return out.as_subclass(torch.Tensor) if moves else out


class LoadElsewhere(Hook):
    """Move what is not MMEngine's in a checkpoint to another device."""

    priority = 'VERY_HIGH'
    OTHERS = {
        'meta', 'message_hub', 'state_dict', 'optimizer', 'param_schedulers'
    }

    def __init__(self):
        self.moved = []

    def after_load_checkpoint(self, runner, checkpoint):

        def move(x):
            self.moved.append(x)
            return x.as_subclass(Elsewhere)

        for key in set(checkpoint) - self.OTHERS:
            checkpoint[key] = apply_to(
                checkpoint[key], lambda x: isinstance(x, torch.Tensor), move)


@ways
def test_a_checkpoint_may_be_loaded_to_any_device(tmp_path, way):
    """MMEngine loads it to the device of the model."""
    hook = LoadElsewhere()
    assert_goes_on_exactly(tmp_path, way, 'iterations', hook)
    # the bank's values and whether they were seen, K, and of the generators
    # those of NumPy and PyTorch
    assert len(hook.moved) >= 5


def test_validation_does_not_change_training(tmp_path):
    """A resumed run does not repeat the validation after its checkpoint."""
    cfg = config(tmp_path / 'validated', 'hook-gradient', 'iterations')
    validated, _, drawn = run(cfg)
    cfg = config(tmp_path / 'unvalidated', 'hook-gradient', 'iterations')
    cfg.train_cfg.val_interval = 100
    cfg.train_cfg.val_begin = 100
    _, _, expected = run(cfg)
    assert drawn == expected


def test_training_on_goes_on_with_what_is_known(tmp_path):
    """Not with what the run had resumed from."""
    cfg = way_config(tmp_path, 'neck-dropout', max_iters=2)
    Runner.from_cfg(cfg).train()
    cfg.train_cfg.max_iters, cfg.resume = 4, True
    runner = Runner.from_cfg(cfg)
    runner.train()
    hook = mwam_hook(runner)
    k, frm = hook.mwam.weights, hook.mwam.frm
    runner.train_loop._max_iters = 5
    draws = []
    hook.before_train_iter = lambda *args, **kwargs: draws.append(
        (hook.interventions['dropout']._k.weights, hook.mwam.frm))
    runner.train()
    (drawn_by, smoothed), = draws
    assert torch.equal(drawn_by, k.cpu())
    assert torch.equal(smoothed, frm)
    assert hook.mwam.state_dict()['batches'] == 5


def test_the_state_is_readable_without_running_code(tmp_path):
    runner, _, _ = run(config(tmp_path, 'hook-gradient', 'iterations'))
    checkpoint = torch.load(tmp_path / 'iter_6.pth', weights_only=False)
    path = tmp_path / 'state.pth'
    torch.save({key: checkpoint[key] for key in ('mwam', 'random_state')},
               path)
    state = torch.load(path, weights_only=True)
    assert set(state['random_state']) == {'python', 'numpy', 'torch', 'cuda'}


def test_fine_tuning_starts_with_an_empty_bank(tmp_path):
    """The bank is of the other data set's images."""
    run(config(tmp_path / 'first', 'hook-gradient', 'iterations'))
    cfg = config(tmp_path / 'second', 'hook-gradient', 'iterations')
    cold, k, _ = run(cfg)
    cfg = config(tmp_path / 'third', 'hook-gradient', 'iterations')
    cfg.load_from = str(tmp_path / 'first/iter_6.pth')
    _, tuned_k, _ = run(cfg)
    torch.testing.assert_close(tuned_k[0], k[0])


@pytest.mark.parametrize('way', ['hook-gradient', 'neck-update'])
def test_twins_draw_the_same_numbers(tmp_path, way):
    """K = 1 and no hook at all train the same, bit for bit, although the
    validations in between draw numbers too."""
    runs = []
    for name in ('', way):
        cfg = config(tmp_path / (name or 'plain'), name, 'iterations')
        cfg.default_hooks.pop('random_state')
        cfg.val_dataloader.dataset.type = 'mwam_mm.RandomPairs'
        ones = dict(alpha=1., beta=0.)
        for hook in cfg.custom_hooks:
            if hook.get('branches'):
                hook.mwam = ones
            else:
                cfg.model.neck.mwam = ones
        RandomPairs.drawn = []
        runner = Runner.from_cfg(cfg)
        runner.train()
        runs.append((runner, RandomPairs.drawn))
    (plain, drawn), (other, other_drawn) = runs
    assert len(drawn) == 36 and drawn == other_drawn
    for p, q in zip(plain.model.parameters(), other.model.parameters()):
        assert torch.equal(p, q)


@DATASETS.register_module()
class EqualPairs(tiny.TinyPairs):
    """Both modalities with three channels, stacked as the layout says, so
    that nothing but the order tells them apart."""

    def __init__(self, modalities, **kwargs):
        super().__init__(**kwargs)
        self.layout = ModalityLayout(modalities)

    def __getitem__(self, i):
        item = super().__getitem__(i)
        rgb, depth = item['inputs'].split((3, 1))
        images = dict(rgb=rgb, depth=depth.expand(3, -1, -1))
        item['inputs'] = torch.cat([images[name] for name in self.layout])
        return item


MODALITIES = dict(tiny.MODALITIES, depth=dict(channels=3, mean=3., std=2.))


def equal_config(work_dir, way):
    """A job that validates every combination and keeps the best."""
    cfg = config(work_dir, way, 'iterations')
    for part in (cfg.model.data_preprocessor, cfg.model.backbone,
                 cfg.model.neck):
        part.modalities = MODALITIES
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.type = 'mwam_mm.EqualPairs'
        loader.dataset.modalities = MODALITIES
    cfg.optim_wrapper.optimizer.momentum = 0.9
    cfg.val_cfg.type = 'mwam_mm.MissingModalityValLoop'
    cfg.default_hooks.checkpoint.save_best = 'rgb+depth/mIoU'
    cfg.default_hooks.checkpoint.rule = 'greater'
    return cfg


class Metrics(Hook):
    """Keeps the metrics of every validation."""

    def __init__(self):
        self.metrics = []

    def after_val_epoch(self, runner, metrics=None):
        self.metrics.append(metrics)


@pytest.mark.parametrize(
    'way', ['hook-gradient', 'neck-gradient', 'neck-dropout'])
def test_resuming_with_the_dumped_config(tmp_path, way):
    """It is the one that the work dir has, and its keys are sorted."""
    metrics = Metrics()
    whole, k, _ = run(equal_config(tmp_path / 'whole', way), metrics)
    tiny.kill(equal_config(tmp_path / 'killed', way), 5)
    path, = (tmp_path / 'killed').glob('*.py')
    cfg = Config.fromfile(path)
    assert list(cfg.model.backbone.modalities) == ['depth', 'rgb']
    cfg.resume = True
    metrics_after = Metrics()
    resumed, k_after, _ = run(cfg, metrics_after)
    assert resumed.iter == whole.iter == 6
    assert torch.equal(torch.stack(k_after), torch.stack(k[4:]))
    for (name, p), (other, q) in zip(whole.model.named_parameters(),
                                     resumed.model.named_parameters()):
        assert name == other and torch.equal(p, q)
    assert metrics_after.metrics == metrics.metrics[-1:]
    assert 'rgb+depth/mIoU' in metrics.metrics[0]
    assert list((tmp_path / 'killed').glob('best_rgb+depth_mIoU_iter_*.pth'))
