"""Two processes against one: all checks run in one pair of processes."""
from contextlib import contextmanager

import pytest
import torch
from mmengine.runner import Runner

from mwam_mm.registry import DATASETS

from .. import tiny
from ..processes import run_ranks
from .ways import STAGES, WAYS, k_of_every_iteration, way_config

pytestmark = pytest.mark.usefixtures('on_cpu')
FSDP_ON_CPU = tuple(map(int, torch.__version__.split('.')[:2])) >= (2, 6)
ACCUMULATION = dict(
    optimizer=dict(type='SGD', lr=0.1), accumulative_counts=3)
fsdp = pytest.mark.skipif(
    not FSDP_ON_CPU, reason='FSDP of this PyTorch needs GPUs')


@DATASETS.register_module()
class OddPairsLackDepth(tiny.TinyPairs):
    """In unshuffled order the second of two ranks never has depth."""

    def __getitem__(self, i):
        item = super().__getitem__(i)
        item['data_samples'].set_metainfo(
            dict(absent_modalities=['depth'] if i % 2 else []))
        return item


def job(work_dir, batch_size, way, lacking=False, **overrides):
    """A training config; the order of the data does not depend on seeds."""
    cfg = way_config(work_dir, way, max_iters=3, **overrides)
    cfg.train_dataloader.batch_size = batch_size
    cfg.train_dataloader.sampler.shuffle = False
    if lacking:
        cfg.train_dataloader.dataset.type = 'mwam_mm.OddPairsLackDepth'
        # so that a rank's zeros and None would differ in what they do
        cfg.optim_wrapper.optimizer.update(momentum=0.9, weight_decay=0.1)
        cfg.model.decode_head.update(
            in_index=[0, 1],
            in_channels=[4, 8],
            input_transform='resize_concat')
    return cfg


class InitFirst(Runner):
    """Initialise the model before FSDP shards it, where MMEngine's does
    after."""

    def build_model(self, model):
        model = super().build_model(model)
        model.init_weights()
        return model

    def _init_model_weights(self):
        pass


def train(cfg):
    """The weights K of every iteration and the trained Runner."""
    runner = InitFirst.from_cfg(cfg)
    history = k_of_every_iteration(runner)
    runner.train()
    return torch.stack(history), runner


def weights_of(runner):
    return {
        name: p.detach().cpu().clone()
        for name, p in runner.model.module.named_parameters()
    }


@contextmanager
def counting(log):
    """Note the size of every all-reduce called from Python."""
    all_reduce = torch.distributed.all_reduce

    def spy(tensor, *args, **kwargs):
        log.append(tensor.numel())
        return all_reduce(tensor, *args, **kwargs)

    torch.distributed.all_reduce = spy
    try:
        yield
    finally:
        torch.distributed.all_reduce = all_reduce


def _ddp(folder, name, way, **overrides):
    cfg = job(
        folder / name,
        2,
        way,
        launcher='pytorch',
        model_wrapper_cfg=dict(
            type='MMDistributedDataParallel', device_ids=None),
        **overrides)
    k, runner = train(cfg)
    return dict(k=k, weights=weights_of(runner))


def _fsdp(folder, name, way):
    from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
    cfg = job(
        folder / name,
        2,
        way,
        launcher='pytorch',
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=None),
        model_wrapper_cfg=dict(
            type='MMFullyShardedDataParallel', device_id=torch.device('cpu')))
    try:
        k, runner = train(cfg)
    except ValueError as error:
        return str(error)
    with FSDP.summon_full_params(runner.model):
        weights = weights_of(runner)
    return dict(k=k, weights={
        name.replace('_fsdp_wrapped_module.', ''): p
        for name, p in weights.items()
    })


def _calls(folder):
    """What one training iteration and one prediction reduce."""
    cfg = job(
        folder / 'calls',
        2,
        'neck-gradient',
        launcher='pytorch',
        model_wrapper_cfg=dict(
            type='MMDistributedDataParallel', device_ids=None))
    cfg.default_hooks.checkpoint = None
    cfg.default_hooks.logger = None
    _, runner = train(cfg)
    runner.model.train()
    data = runner.model.module.data_preprocessor(
        next(iter(runner.train_dataloader)), True)
    training, testing = [], []
    with counting(training):
        runner.model(**data, mode='loss')
    runner.model.eval()
    with counting(testing), torch.no_grad():
        runner.model(**data, mode='predict')
    return training, testing


def _run(rank, folder):
    found = {}
    for way in WAYS:
        found[way] = _ddp(folder, f'ddp_{way}', way)
        found[f'lacking_{way}'] = _ddp(
            folder, f'lacking_{way}', way, lacking=True)
        found[f'accumulate_{way}'] = _ddp(
            folder, f'accumulate_{way}', way, optim_wrapper=ACCUMULATION)
        if FSDP_ON_CPU:
            found[f'fsdp_{way}'] = _fsdp(folder, f'fsdp_{way}', way)
    found['recomputed'] = _ddp(
        folder, 'recomputed', 'neck-gradient', activation_checkpointing=STAGES)
    found['calls'] = _calls(folder)
    torch.save(found, folder / f'{rank}.pth')


@pytest.fixture(scope='module')
def two(tmp_path_factory):
    """What either rank found."""
    folder = tmp_path_factory.mktemp('two')
    run_ranks(_run, folder)
    return [
        torch.load(folder / f'{rank}.pth', weights_only=False)
        for rank in range(2)
    ]


def assert_same(two, name, cfg):
    """Both ranks, and one process with the global batch, agree."""
    k, runner = train(cfg)
    weights = dict(runner.model.named_parameters())
    for rank in range(2):
        found = two[rank][name]
        assert torch.equal(found['k'], two[0][name]['k'])
        torch.testing.assert_close(found['k'], k, rtol=0, atol=1e-6)
        assert found['weights'].keys() == weights.keys()
        difference = max(
            (found['weights'][n] - p.detach().cpu()).abs().max()
            for n, p in weights.items())
        assert difference < 1e-5
    return k


# Each rank draws which modalities to drop from its own seed.
same = pytest.mark.parametrize('way', [w for w in WAYS if 'dropout' not in w])


@same
def test_two_ranks_equal_one_process(two, tmp_path, way):
    k = assert_same(two, way, job(tmp_path, 4, way))
    assert (k[:, 0] - k[:, 1]).abs().min() > 0.01


@pytest.mark.parametrize(
    'way', [w for w in WAYS if w not in ('neck-loss', 'neck-dropout')])
def test_a_rank_may_lack_a_modality(two, tmp_path, way):
    assert_same(two, f'lacking_{way}', job(tmp_path, 4, way, lacking=True))


@pytest.mark.parametrize('name', [
    'lacking_neck-loss', 'neck-dropout', 'lacking_neck-dropout',
    'accumulate_neck-dropout',
    pytest.param('fsdp_neck-dropout', marks=fsdp)
])
def test_ranks_agree_where_the_split_matters(two, name):
    """A rank averages the modality's loss over the samples it has, as all
    losses are, and draws its own samples to drop; K is one."""
    a, b = (found[name] for found in two)
    assert torch.equal(a['k'], b['k'])
    assert a['k'].isfinite().all()
    assert all(
        torch.equal(p, b['weights'][n]) for n, p in a['weights'].items())


@same
def test_accumulation_on_two_ranks(two, tmp_path, way):
    cfg = job(tmp_path, 4, way, optim_wrapper=ACCUMULATION)
    assert_same(two, f'accumulate_{way}', cfg)


def test_activation_checkpointing_on_two_ranks(two, tmp_path):
    assert_same(two, 'recomputed', job(tmp_path, 4, 'neck-gradient'))


@fsdp
@pytest.mark.parametrize(
    'way', [w for w in WAYS if w not in ('hook-gradient', 'neck-dropout')])
def test_fsdp(two, tmp_path, way):
    assert_same(two, f'fsdp_{way}', job(tmp_path, 4, way))


@fsdp
def test_fsdp_cannot_scale_the_gradients_of_parameters(two):
    for rank in range(2):
        assert 'model.neck.mwam' in two[rank]['fsdp_hook-gradient']


def test_one_small_all_reduce_in_training_and_none_at_inference(two):
    for rank in range(2):
        training, testing = two[rank]['calls']
        assert training == [4]  # sum and count of each modality
        assert testing == []
