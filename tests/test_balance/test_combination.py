"""The model's own losses of subsets, against forwards of their own."""
import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.config.lazy import LazyObject
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmseg.models import EncoderDecoder
from mmseg.models.decode_heads import FCNHead
from torch import nn
from torch.nn.functional import interpolate

from mwam_mm.balance import Intervention
from mwam_mm.balance.interventions.combination import Combination
from mwam_mm.registry import DATASETS, INTERVENTIONS
from mwam_mm.registry import MODELS as HEADS

from .. import tiny
from ..processes import run_ranks
from ..test_engine.conftest import amp  # noqa: F401
from ..test_engine.ways import BRANCHES
from .separate import assert_separate, kept

EVEN = dict(rgb=1., depth=1.)
K = dict(rgb=0.5, depth=2.)


@DATASETS.register_module()
class SomeLackOne(tiny.TinyPairs):
    """Sample 1 has no depth and sample 2 no RGB."""

    def __getitem__(self, i):
        item = super().__getitem__(i)
        lacks = {1: ['depth'], 2: ['rgb']}.get(i, [])
        item['data_samples'].set_metainfo(dict(absent_modalities=lacks))
        return item


def job(work_dir, dataset='SomeLackOne', model=None, **kwargs):
    kwargs.setdefault('max_iters', 1)
    cfg = tiny.config(
        work_dir,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        model=model or tiny.model(),
        **kwargs)
    cfg.train_dataloader.sampler.shuffle = False
    cfg.train_dataloader.dataset.type = f'mwam_mm.{dataset}'
    return cfg


def head(**kwargs):
    return dict(tiny.model()['decode_head'], **kwargs)


def with_auxiliary():
    return dict(
        tiny.model(),
        auxiliary_head=head(in_channels=4, in_index=0, channels=4))


def cascade():
    ocr = dict(
        head(),
        type='mmseg.OCRHead',
        ocr_channels=4)
    for key in ('num_convs', 'concat_input'):
        ocr.pop(key)
    return dict(
        tiny.model(),
        type='mmseg.CascadeEncoderDecoder',
        num_stages=2,
        decode_head=[head(), ocr])


@HEADS.register_module()
class OwnLoss(EncoderDecoder):
    """Takes a loss of the features themselves."""

    def _decode_head_forward_train(self, inputs, data_samples):
        losses = super()._decode_head_forward_train(inputs, data_samples)
        labels = torch.stack([s.gt_sem_seg.data for s in data_samples])
        edges = interpolate(labels.float(), inputs[-1].shape[2:])
        losses['loss_edges'] = (inputs[-1] - edges).square().mean()
        return losses


def own(name):
    return lambda: dict(tiny.model(), type=f'mwam_mm.{name}')


MODELS = dict(
    plain=tiny.model, auxiliary=with_auxiliary, cascade=cascade,
    looks_again=own('LooksAgain'), own_loss=own('OwnLoss'))


@HEADS.register_module()
class TakesLabels(FCNHead):
    """Takes the labels out of the samples, as RTMDet's head for masks turns
    them into something else."""

    def loss_by_feat(self, seg_logits, batch_data_samples):
        losses = super().loss_by_feat(seg_logits, batch_data_samples)
        for sample in batch_data_samples:
            del sample.gt_sem_seg
        return losses


@pytest.mark.parametrize('intervention', ['combination', 'loss'])
def test_a_head_that_changes_the_labels(tmp_path, intervention):
    """Subsets and heads of each modality get them as they were."""
    states = []
    for name in ('FCNHead', 'TakesLabels'):
        kind = 'mmseg.FCNHead' if name == 'FCNHead' else f'mwam_mm.{name}'
        model = dict(tiny.model(), decode_head=head(type=kind))
        if intervention == 'loss':
            model.update(
                type='mwam_mm.with_modality_heads',
                host='mmseg.EncoderDecoder')
        keeper, runner = kept(
            job(tmp_path / name, model=model), intervention)
        assert {'rgb.decode.loss_ce', 'depth.decode.loss_ce'} <= set(
            keeper.losses)
        states.append(runner.model.state_dict())
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


@pytest.mark.parametrize('name', MODELS)
@pytest.mark.parametrize('weights, expected', [('even', EVEN), ('k', K)])
def test_one_step_of_singles(tmp_path, name, weights, expected):
    keeper, _ = kept(
        job(tmp_path, model=MODELS[name]()),
        dict(type='combination', weights=weights))
    assert keeper.subsets['rgb']['rgb'] == [True, True, False, True]
    assert not any(keeper.subsets['rgb']['depth'])
    assert_separate(keeper, expected)
    # As in plain training, each branch ran once, on the samples that have it.
    assert keeper.calls == ['rgb', 'depth']


def test_one_step_of_pairs(tmp_path):
    keeper, _ = kept(
        job(tmp_path, max_iters=1),
        dict(type='combination', subsets='paired'))
    drawn = keeper.subsets['paired']
    for rgb, depth in zip(drawn['rgb'], drawn['depth']):
        assert rgb + depth == 1
    assert drawn['rgb'][1] and drawn['depth'][2]
    assert_separate(keeper, dict(paired=1.))
    assert keeper.calls == ['rgb', 'depth']


def test_the_mean_of_all_losses(tmp_path):
    keeper, _ = kept(
        job(tmp_path), dict(type='combination', reduction='mean'))
    assert_separate(keeper, EVEN, share=1 / 3)
    keeper, _ = kept(
        job(tmp_path / 'b'),
        dict(type='combination', subsets='paired', reduction='mean'))
    assert_separate(keeper, dict(paired=1.), share=1 / 2)


def test_the_mean_does_not_depend_on_the_order(tmp_path):
    """What other interventions add is not divided."""
    combination = dict(type='combination', reduction='mean')
    distill = dict(type='distill', weight=1e4)
    one, other = (
        kept(job(tmp_path / 'ab'[i]), *both)[0].losses
        for i, both in enumerate([(combination, distill),
                                  (distill, combination)]))
    assert one.keys() == other.keys()
    assert one['rgb.loss_distill'] > 0
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


@INTERVENTIONS.register_module()
class AsksForBoth(Intervention):
    """A plug-in with a subset of its own."""

    def at_features(self, signal, outputs):
        signal.subsets['both'] = outputs.present
        return outputs

    def at_losses(self, signal, losses):
        self.found = signal.joined.losses('both')
        return losses


@pytest.mark.parametrize('interventions', [
    [dict(type='combination', reduction='mean'), 'distill'], ['lfm']],
    ids=['combination', 'lfm'])
def test_subsets_of_a_plug_in_are_its_own(tmp_path, interventions):
    one, other = (
        kept(job(tmp_path / str(len(plug_in))), *plug_in, *interventions)[0]
        for plug_in in ([], ['AsksForBoth']))
    assert 'both' in other.subsets
    assert one.losses.keys() == other.losses.keys()
    for key, value in one.losses.items():
        torch.testing.assert_close(value, other.losses[key])


def test_an_intervention_named_by_its_class(tmp_path):
    """As in a pure Python config. The others find it as if by its name."""
    named = LazyObject(Combination.__module__, Combination.__name__)
    keeper, _ = kept(
        job(tmp_path), dict(type=named, subsets='paired'), 'distill')
    assert list(keeper.subsets) == ['paired']


@pytest.mark.parametrize('weights, share', [('even', 0.5), ('k', 0.2)])
def test_which_modality_a_pair_keeps(tmp_path, weights, share):
    """By K of the iteration before; K is 1 in the first."""
    seen = []
    cfg = job(tmp_path, 'TinyPairs', max_iters=60)
    cfg.default_hooks = dict(logger=None, checkpoint=None)
    cfg.custom_hooks = [
        dict(
            type='mwam_mm.BalanceHook',
            weigher=dict(type='mwam_mm.Constant', k=K),
            intervention=dict(
                type='combination', subsets='paired', weights=weights))
    ]
    runner = Runner.from_cfg(cfg)
    hook, = (h for h in runner.hooks if type(h).__name__ == 'BalanceHook')
    acting = hook.interventions['combination']
    at_losses = acting.at_losses

    def spy(signal, losses):
        seen.append(signal.subsets['paired']['rgb'])
        return at_losses(signal, losses)

    acting.at_losses = spy
    runner.train()
    later = [flag for flags in seen[1:] for flag in flags]
    p = sum(later) / len(later)
    assert abs(p - share) < 4 * (share * (1 - share) / len(later))**0.5
    assert len({tuple(flags) for flags in seen}) > 5


def test_pairs_where_k_is_0():
    """As if all were the same."""
    combination = Combination(subsets='paired', weights='k')
    combination.attach(SimpleNamespace(
        runner=SimpleNamespace(seed=0, iter=0), model=nn.Module(),
        modalities=('rgb', 'depth'), weights=torch.zeros(2)))
    signal = SimpleNamespace(subsets={})
    combination.at_features(signal, SimpleNamespace(
        present=dict(rgb=[True] * 100, depth=[True] * 100)))
    rgb = sum(signal.subsets['paired']['rgb'])
    assert 30 < rgb < 70
    assert sum(signal.subsets['paired']['depth']) == 100 - rgb


def test_norm_layers_see_all_at_once(tmp_path):
    """Their statistics are those of the complete input and the subsets."""
    batch_norm = dict(type='BN')
    cfg = job(tmp_path, model=dict(
        tiny.model(), decode_head=head(norm_cfg=batch_norm)))
    keeper, runner = kept(cfg, dict(type='combination', weights='k'))
    model = keeper.before.train()
    norm = next(m for m in model.decode_head.modules()
                if isinstance(m, nn.BatchNorm2d))
    x, samples = keeper.batch['inputs'], keeper.batch['data_samples']
    rgb, depth = x.clone(), x.clone()
    rgb[:, 3:], depth[:, :3] = 0, 0
    joined = torch.cat([x, rgb[[0, 1, 3]], depth[[0, 2, 3]]])
    rows = [0, 1, 2, 3, 0, 1, 3, 0, 2, 3]
    logits = model.decode_head.forward(model.extract_feat(joined))
    parts = logits.split([4, 3, 3])
    labels = torch.stack([samples[i].gt_sem_seg.data for i in rows])
    total = 0.
    for part, label, weight, key in zip(
            parts, labels.split([4, 3, 3]), (1., 0.5, 2.),
            ('', 'rgb.', 'depth.')):
        loss = weight * nn.functional.cross_entropy(
            nn.functional.interpolate(part, (32, 32), mode='bilinear'),
            label[:, 0])
        torch.testing.assert_close(
            keeper.losses[f'{key}decode.loss_ce'], loss)
        total = total + loss
    total.backward()
    for name, p in model.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(
                keeper.gradients[name], p.grad, rtol=1e-4, atol=1e-6)
    trained = dict(runner.model.named_buffers())
    for name, value in norm.named_buffers():
        path = next(n for n, m in model.named_modules() if m is norm)
        torch.testing.assert_close(trained[f'{path}.{name}'], value)
    assert trained[f'{path}.num_batches_tracked'] == 1


@HEADS.register_module()
class HeadWithItsOwnLoss(FCNHead):

    def loss(self, inputs, batch_data_samples, train_cfg):
        return super().loss(inputs, batch_data_samples, train_cfg)


def test_heads_with_losses_of_their_own(tmp_path):
    model = dict(
        tiny.model(), decode_head=head(type='mwam_mm.HeadWithItsOwnLoss'))
    keeper, _ = kept(
        job(tmp_path, model=model), dict(type='combination', weights='k'))
    assert_separate(keeper, K)
    assert keeper.calls == ['rgb', 'depth']


@HEADS.register_module()
class Pools(HeadWithItsOwnLoss):
    """Normalises features of one pixel, as PSPHead does."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(self.out_channels))

    def forward(self, inputs):
        x = super().forward(inputs)
        return x + self.pool(x)


@DATASETS.register_module()
class OnlySecondHasDepth(tiny.TinyPairs):

    def __getitem__(self, i):
        item = super().__getitem__(i)
        item['data_samples'].set_metainfo(
            dict(absent_modalities=[] if i == 1 else ['depth']))
        return item


def test_a_single_sample_in_a_head_that_pools(tmp_path):
    """It counts once, but the head sees it twice."""
    model = dict(tiny.model(), decode_head=head(type='mwam_mm.Pools'))
    keeper, _ = kept(
        job(tmp_path / 'a', 'OnlySecondHasDepth', model=model), 'combination')
    plain = keeper.before.train()
    x = keeper.batch['inputs'].clone()
    x[:, :3] = 0
    torch.testing.assert_close(
        keeper.losses['depth.decode.loss_ce'],
        plain.loss(x[[1, 1]], [keeper.batch['data_samples'][1]] * 2)[
            'decode.loss_ce'])
    keeper, _ = kept(
        job(tmp_path / 'b', 'OnlySecondHasDepth', model=model), 'lfm')
    assert keeper.losses['lfm.loss_align'].isfinite()


def test_heads_that_cannot_be_split_run_once_for_each_subset(tmp_path):
    """The user is told of what that does to BatchNorm."""
    model = dict(
        tiny.model(),
        decode_head=head(type='mwam_mm.HeadWithItsOwnLoss',
                         norm_cfg=dict(type='BN')))
    cfg = job(tmp_path, model=model)
    messages = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.logging.MMLogger.warning',
                      lambda self, message, *_: messages.append(message))
        keeper, runner = kept(cfg, 'combination')
    assert any('one subset at a time' in m for m in messages)
    assert {k for k in keeper.losses if 'loss' in k} == {
        'decode.loss_ce', 'rgb.decode.loss_ce', 'depth.decode.loss_ce'
    }
    norm = next(m for m in runner.model.decode_head.modules()
                if isinstance(m, nn.BatchNorm2d))
    assert norm.num_batches_tracked == 3
    assert keeper.calls == ['rgb', 'depth']


@pytest.mark.parametrize('interventions', [
    ['combination'], ['combination', 'distill'],
    ['combination', dict(type='detach', share=0.5)]
])
def test_the_model_stays_the_plain_one(tmp_path, interventions):
    """In its parameters, its outputs and its checkpoints."""
    plain = tiny.train(tmp_path / 'plain', max_iters=2)
    _, runner = kept(job(tmp_path / 'ours', max_iters=2), *interventions)
    assert plain.model.state_dict().keys() == runner.model.state_dict().keys()
    paths = [tmp_path / name / 'iter_2.pth' for name in ('plain', 'ours')]
    a, b = (torch.load(path, weights_only=False) for path in paths)
    assert a['state_dict'].keys() == b['state_dict'].keys()
    assert b.keys() - a.keys() <= {'balance'}
    plain.model.load_state_dict(b['state_dict'])
    x = torch.randn(2, 4, 32, 32, device=tiny.device_of(runner))
    for mode in (True, False):
        for each in (plain.model, runner.model):
            each.train(mode)
        with torch.no_grad():
            assert torch.equal(plain.model(x), runner.model(x))
    copy.deepcopy(runner.model)
    for module in runner.model.modules():
        assert 'forward' not in vars(module)


def test_an_error_within_the_forward_leaves_nothing_behind(tmp_path):
    cfg = job(tmp_path)
    cfg.custom_hooks = [
        dict(type='mwam_mm.BalanceHook',
             weigher=dict(type='mwam_mm.Constant'),
             intervention='combination')
    ]
    runner = Runner.from_cfg(cfg)
    broken = []

    def fail(logits, samples):
        broken.append(len(logits))
        raise KeyError('labels')

    runner.model.decode_head.loss_decode.register_forward_pre_hook(
        lambda module, args: fail(*args))
    with pytest.raises(KeyError, match='labels'):
        runner.train()
    assert broken == [4]
    runner.call_hook('after_train')
    assert 'forward' not in vars(runner.model.decode_head)
    assert 'loss_by_feat' not in vars(runner.model.decode_head)


@pytest.mark.parametrize('intervention', [
    ['combination', 'distill'], 'mmpareto'], ids=str)
def test_forwards_for_no_losses_are_left_alone(tmp_path, intervention):
    cfg = job(tmp_path)
    cfg.custom_hooks = [
        dict(type='mwam_mm.BalanceHook',
             weigher=dict(type='mwam_mm.Constant'),
             intervention=intervention)
    ]
    runner = Runner.from_cfg(cfg)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    x = torch.randn(2, 4, 32, 32, device=tiny.device_of(runner))
    kernel = next(runner.model.backbone.parameters())

    def outcome():
        out = runner.model.train()(x, mode='tensor')
        return out, *torch.autograd.grad(out.square().sum(), kernel)

    plain = outcome()
    runner.call_hook('before_train')
    for ours, expected in zip(outcome(), plain):
        assert torch.equal(ours, expected)
    runner.call_hook('after_train')


def test_accumulation_and_k_on_the_gradients(tmp_path):
    """Two micro-batches are the sum of both, and `gradient` scales all that
    reaches a branch."""
    parts = []
    for i in range(2):  # the gradients of either
        cfg = job(tmp_path / f'{i}', 'TinyPairs', max_iters=i + 1)
        cfg.optim_wrapper.optimizer.lr = 0.
        keeper, _ = kept(cfg, 'combination')
        parts.append(keeper.gradients)
    cfg = job(tmp_path / 'both', 'TinyPairs', max_iters=2)
    cfg.optim_wrapper = dict(
        optimizer=dict(type='SGD', lr=0.), accumulative_counts=2)
    keeper, _ = kept(cfg, 'combination', 'gradient')
    for name, gradient in keeper.gradients.items():
        if gradient is None:  # of the first level, which no head takes
            continue
        factor = next((K[m] for m, path in BRANCHES.items()
                       if name.startswith(f'{path}.')), 1.)
        torch.testing.assert_close(
            gradient, factor * (parts[0][name] + parts[1][name]) / 2,
            rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures('amp')
def test_mixed_precision(tmp_path):
    cfg = job(tmp_path)
    cfg.optim_wrapper.update(
        type='AmpOptimWrapper', dtype='bfloat16', loss_scale=1.)
    keeper, _ = kept(cfg, 'combination', 'distill')
    for name in ('rgb', 'depth'):
        assert keeper.losses[f'{name}.decode.loss_ce'].isfinite()
        assert keeper.losses[f'{name}.loss_distill'].isfinite()
    assert all(g.isfinite().all() for g in keeper.gradients.values()
               if g is not None)


@pytest.mark.parametrize('intervention', [
    dict(type='combination', subsets='paired', weights='k'),
    dict(type='dropout')
])
def test_a_resumed_run_draws_the_same(tmp_path, intervention):
    """By the K of the iteration before, which the checkpoint has."""
    def cfg(folder, **kwargs):
        cfg = job(tmp_path / folder, 'TinyPairs', max_iters=4, **kwargs)
        cfg.custom_hooks = [
            dict(type='mwam_mm.BalanceHook',
                 weigher=dict(type='mwam_mm.Constant', k=dict(
                     rgb=0., depth=2.)),
                 intervention=intervention)
        ]
        return cfg

    whole = Runner.from_cfg(cfg('whole'))
    whole.train()
    tiny.kill(cfg('killed'), 3)
    resumed = Runner.from_cfg(cfg('killed', resume=True))
    resumed.train()
    for p, q in zip(whole.model.parameters(), resumed.model.parameters()):
        assert torch.equal(p, q)
    assert all(torch.equal(p, q) for p, q in zip(
        whole.model.buffers(), resumed.model.buffers()))


@DATASETS.register_module()
class SecondRankLacksDepth(tiny.TinyPairs):

    def __getitem__(self, i):
        item = super().__getitem__(i)
        item['data_samples'].set_metainfo(
            dict(absent_modalities=['depth'] if i % 2 else []))
        return item


INTERVENTIONS = dict(
    singles=['combination'],
    weighted=[dict(type='combination', weights='k'), 'distill', 'detach'],
    pairs=[dict(type='combination', subsets='paired', weights='k')])


def _rank(rank, folder, norm):
    found = {}
    for name, interventions in INTERVENTIONS.items():
        model = dict(tiny.model(), decode_head=head(norm_cfg=norm))
        keeper, runner = kept(
            job(folder / name, 'SecondRankLacksDepth', model, max_iters=2,
                launcher='pytorch',
                default_hooks=dict(logger=None, checkpoint=None),
                model_wrapper_cfg=dict(
                    type='MMDistributedDataParallel', device_ids=None)),
            *interventions)
        found[name] = dict(
            gradients=keeper.gradients,
            losses=list(keeper.losses),
            weights={
                n: p.detach() for n, p in runner.model.named_parameters()
            })
    torch.save(found, folder / f'{rank}.pth')


@pytest.mark.usefixtures('on_cpu')
def test_a_rank_that_lacks_a_modality(tmp_path):
    """All parameters have a gradient, and the ranks agree."""
    run_ranks(_rank, tmp_path, tiny.NORM)
    a, b = (torch.load(tmp_path / f'{i}.pth', weights_only=False)
            for i in range(2))
    for name in INTERVENTIONS:
        for key, gradient in a[name]['gradients'].items():
            # FCNHead takes the last level only.
            if 'fusions.0' not in key:
                assert gradient is not None, key
            if gradient is not None:
                assert torch.equal(gradient, b[name]['gradients'][key])
        assert all(torch.equal(p, b[name]['weights'][key])
                   for key, p in a[name]['weights'].items())
    assert 'depth.decode.loss_ce' in b['singles']['losses']
    assert 'depth.decode.acc_seg' not in b['singles']['losses']


@pytest.mark.parametrize('intervention, message', [
    (dict(type='combination', subsets='all'), 'subsets=.all.*paired'),
    (dict(type='combination', weights='none'), "weights='none'.*even"),
    (dict(type='combination', reduction='max'), "reduction='max'.*mean"),
])
def test_wrong_options(tmp_path, intervention, message):
    with pytest.raises(ValueError, match=message):
        kept(job(tmp_path), intervention)


def test_what_cannot_work_is_refused(tmp_path):
    with pytest.raises(ValueError, match='"combination".*leave out branches'):
        kept(job(tmp_path / 'a'), 'combination', branches=BRANCHES)
    with pytest.raises(ValueError, match='"combination".*compile=False'):
        kept(job(tmp_path / 'b', compile=True), 'combination')


@HEADS.register_module()
class LossInForward(BaseModel):
    """Fuses in an MWAMNeck, and has no method for its losses."""

    def __init__(self, data_preprocessor, backbone, neck):
        super().__init__(data_preprocessor)
        self.backbone = HEADS.build(backbone)
        self.neck = HEADS.build(neck)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return dict(loss=self.neck(self.backbone(inputs))[-1].mean())


def test_a_model_without_a_method_for_its_losses_is_refused(tmp_path):
    parts = tiny.model()
    model = dict(
        {key: parts[key] for key in ('data_preprocessor', 'backbone', 'neck')},
        type='mwam_mm.LossInForward')
    with pytest.raises(ValueError, match='"combination".*InForward has no lo'):
        kept(job(tmp_path, model=model), 'combination')


def test_a_modality_must_not_be_called_like_a_loss(tmp_path):
    """Its accuracy would be minimised: ``lossy.decode.acc_seg``."""
    modalities = dict(tiny.MODALITIES, lossy=tiny.MODALITIES['depth'])
    del modalities['depth']
    cfg = job(tmp_path, dataset='TinyPairs', model=dict(
        tiny.model(), **tiny.streams(modalities)))
    cfg.model.data_preprocessor.modalities = modalities
    with pytest.raises(ValueError, match=r'"combination".*rename .*lossy'):
        kept(cfg, 'combination', weigher=dict(type='mwam_mm.Constant'))


@HEADS.register_module()
class TwoViews(EncoderDecoder):
    """Has a loss of what it makes of a second view besides."""

    def loss(self, inputs, data_samples):
        losses = super().loss(inputs, data_samples)
        other = self.extract_feat(inputs.flip(3))[-1]
        return dict(losses, loss_view=other.square().mean())


def test_a_model_that_fuses_twice_is_refused(tmp_path):
    model = dict(tiny.model(), type='mwam_mm.TwoViews')
    with pytest.raises(ValueError, match='TwoViews fuses .* several times'):
        kept(job(tmp_path, model=model), 'combination')


@pytest.mark.parametrize('interventions, message', [
    (['combination', 'loss'], 'under the same names.*subsets="paired"'),
    (['mmpareto', 'combination'], "'mmpareto', 'combination'.*name one"),
    ([dict(type='combination', subsets='paired'), 'lfm'], 'several times'),
    (['lfm', 'mmpareto'], 'several times'),
    ([dict(type='distill', subsets='paired'), 'lfm'],
     'subsets of "lfm": leave out distill.subsets'),
])
def test_losses_that_would_count_twice_are_refused(
        tmp_path, interventions, message):
    model = dict(
        tiny.model(),
        type='mwam_mm.with_modality_heads',
        host='mmseg.EncoderDecoder') if 'loss' in interventions else None
    with pytest.raises(ValueError, match=message):
        kept(job(tmp_path, model=model), *interventions)
