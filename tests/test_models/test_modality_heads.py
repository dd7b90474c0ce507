"""The weighted loss (Eq. 7) against a computation with two heads by hand."""
import copy
import glob
import json

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.runner.checkpoint import get_state_dict, load_state_dict
from mmseg.models import EncoderDecoder
from torch import nn
from torch.nn.functional import cross_entropy, interpolate

from mwam_mm.models import with_modality_heads
from mwam_mm.mwam import MWAM
from mwam_mm.registry import DATASETS, MODELS

from .. import tiny

SGD = dict(optimizer=dict(type='SGD', lr=1e3))


@DATASETS.register_module()
class TinyGaps(tiny.TinyPairs):
    """Depth is absent from the samples in ``absent``."""

    def __init__(self, absent=(0, 2, 4, 6), **kwargs):
        super().__init__(**kwargs)
        self.absent = absent

    def __getitem__(self, i):
        item = super().__getitem__(i)
        if i in self.absent:
            item['data_samples'].set_metainfo(
                dict(absent_modalities=['depth']))
        return item


def model(**kwargs):
    cfg = dict(tiny.model(mwam=dict()), **kwargs)
    return dict(
        cfg, host=cfg['type'], type='mwam_mm.with_modality_heads')


def config(work_dir, intervention='loss', absent=(), **kwargs):
    kwargs.setdefault('model', model())
    cfg = tiny.config(
        work_dir,
        hook=dict(type='mwam_mm.MWAMHook', intervention=intervention),
        **kwargs)
    cfg.train_dataloader.dataset = dict(
        type='mwam_mm.TinyGaps', absent=tuple(absent))
    return cfg


class Spy(nn.Identity):
    """Keeps the last preprocessed batch."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, data, training=False):
        self.batch = self.inner(data, training)
        return self.batch


def spy_on(runner):
    runner.model.data_preprocessor = Spy(runner.model.data_preprocessor)
    return runner.model.data_preprocessor


def build(cfg):
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(cfg)


def loss_by_hand(head, features, labels):
    logits = interpolate(head(features), labels.shape[1:], mode='bilinear')
    return cross_entropy(logits, labels)


def gradients_by_hand(plain, batch, hybrid):
    """Gradients of ``plain`` and of a second and third head, and losses."""
    x = batch['inputs']
    labels = torch.cat([s.gt_sem_seg.data for s in batch['data_samples']])
    inputs = dict(rgb=x[:, :3], depth=x[:, 3:])
    k = dict(zip(inputs, MWAM(list(inputs)).update(inputs)))
    heads = {name: copy.deepcopy(plain.decode_head) for name in inputs}
    full = [{}, {}]
    losses = {}
    for name, image in inputs.items():
        has = image.flatten(1).any(1)
        alone = plain.backbone.branches[name](image[has])
        losses[name] = k[name] * loss_by_hand(heads[name], alone, labels[has])
        for level, f in zip(full, alone):
            level[name] = f.new_zeros(len(x), *f.shape[1:])
            level[name][has] = f
    fused = [fuse(f) for fuse, f in zip(plain.neck.fusions, full)]
    total = loss_by_hand(plain.decode_head, fused, labels)
    (total + sum(losses.values())).backward()
    gradients = {  # the first level's fusion is not used
        n: torch.zeros_like(p) if p.grad is None else p.grad
        for n, p in plain.named_parameters()
    }
    for name, head in heads.items():
        for n, p in head.named_parameters():
            gradients[f'modality_heads.{name}.decode_head.{n}'] = p.grad
        if hybrid:
            for n, p in plain.backbone.branches[name].named_parameters():
                gradients[f'backbone.branches.{name}.{n}'] = k[name] * p.grad
    return gradients, losses


@pytest.mark.parametrize('intervention', ('loss', ['loss', 'gradient']))
@pytest.mark.parametrize('absent', ((), (0, 2, 4, 6)))
def test_one_sgd_step(tmp_path, intervention, absent):
    runner = Runner.from_cfg(
        config(
            tmp_path,
            intervention,
            absent,
            max_iters=1,
            optim_wrapper=SGD))
    runner.model.init_weights()
    plain = build(tiny.model()).to(tiny.device_of(runner))
    plain.load_state_dict(runner.model.state_dict())
    spy = spy_on(runner)
    runner.train()
    before = dict(plain.named_parameters())
    for name in runner.model.modality_heads:  # they start as the model's own
        for n, p in plain.decode_head.named_parameters():
            before[f'modality_heads.{name}.decode_head.{n}'] = p
    gradients, losses = gradients_by_hand(
        copy.deepcopy(plain), spy.batch, intervention != 'loss')
    after = dict(runner.model.named_parameters())
    assert after.keys() == gradients.keys()
    for name, p in after.items():
        torch.testing.assert_close(
            p.double() - before[name].double(),
            -1e3 * gradients[name].double(),
            rtol=1e-3,
            atol=1e-3)
    # The logs have the losses, multiplied by K.
    path, = glob.glob(f'{runner.work_dir}/*/vis_data/scalars.json')
    with open(path) as f:
        log = json.loads(f.readline())
    for name, loss in losses.items():
        assert log[f'{name}.decode.loss_ce'] == pytest.approx(
            loss.item(), rel=1e-4)
        assert f'{name}.decode.acc_seg' in log
    if absent:
        assert sum('absent_modalities' in s.metainfo
                   for s in spy.batch['data_samples']) in (1, 2, 3)


def test_gone_from_the_state_dict_and_at_inference(tmp_path):
    trained = tiny_run(tmp_path, max_iters=2).model
    plain = build(tiny.model())
    for states in ((trained.state_dict(), plain.state_dict()),
                   (get_state_dict(trained), get_state_dict(plain))):
        assert states[0].keys() == states[1].keys()
    saved = torch.load(tmp_path / 'iter_2.pth', weights_only=False)
    assert saved['state_dict'].keys() == plain.state_dict().keys()
    assert set(saved['mwam']['modality_heads']) == {'rgb', 'depth'}
    plain.load_state_dict(saved['state_dict'])
    back = build(model())
    back.load_state_dict(saved['state_dict'])
    load_state_dict(back, saved['state_dict'], strict=True)
    with pytest.raises(RuntimeError, match='decode_head.conv_seg.bias'):
        state = dict(saved['state_dict'])
        state.pop('decode_head.conv_seg.bias')
        back.load_state_dict(state)
    x = torch.randn(2, 4, 32, 32)
    outputs = []
    for one in (trained, plain, back):
        one.cpu().eval()
        with torch.no_grad():
            outputs.append(one(x))
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


def tiny_run(work_dir, **kwargs):
    runner = Runner.from_cfg(config(work_dir, **kwargs))
    runner.train()
    return runner


def test_training_changes_the_heads_only_apart_from_the_loss(tmp_path):
    """Building the heads draws no random numbers."""
    with_heads = Runner.from_cfg(config(tmp_path / 'a'))
    plain = Runner.from_cfg(tiny.config(tmp_path / 'b'))
    for runner in (with_heads, plain):
        torch.manual_seed(3)
        runner.model.init_weights()
    a, b = with_heads.model.state_dict(), plain.model.state_dict()
    assert all(torch.equal(a[key], b[key]) for key in b)


def test_resumed_training_continues_exactly(tmp_path):
    kwargs = dict(
        intervention=['loss', 'gradient'],
        max_iters=4,
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)))
    whole = tiny_run(tmp_path / 'whole', **kwargs)
    tiny.kill(config(tmp_path / 'killed', **kwargs), 3)
    resumed = tiny_run(tmp_path / 'killed', resume=True, **kwargs)
    assert resumed.iter == 4
    heads = resumed.model.modality_heads.state()
    own = get_state_dict(resumed.model.decode_head)
    assert not torch.equal(heads['rgb']['decode_head.conv_seg.weight'],
                           own['conv_seg.weight'])
    for (name, p), q in zip(whole.model.named_parameters(),
                            resumed.model.parameters()):
        assert torch.equal(p, q), name


def test_resuming_a_run_without_heads_says_so(tmp_path):
    tiny.train(
        tmp_path,
        mwam=dict(),
        hook=dict(type='mwam_mm.MWAMHook'),
        optim_wrapper=SGD,
        max_iters=2)
    cfg = config(tmp_path, load_from=str(tmp_path / 'iter_2.pth'), max_iters=1)
    runner = Runner.from_cfg(cfg)
    runner.load_or_resume()
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.train_loop._iter = 2
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    messages = []
    runner.logger.info = messages.append
    runner.call_hook('before_train')
    assert any('no modality heads' in str(m) for m in messages)
    # As when training starts from loaded weights: copies of the loaded head.
    own = runner.model.decode_head.state_dict()
    for head in runner.model.modality_heads.values():
        for key, value in head.decode_head.state_dict().items():
            assert torch.equal(value, own[key])


@MODELS.register_module()
class TakesApart(EncoderDecoder):
    """Its own way from the image to the features, by the layout."""

    def extract_feat(self, inputs):
        *levels, last = self.neck(self.backbone(inputs))
        rgb = inputs[:, self.data_preprocessor.layout['rgb'].slice]
        return [*levels, last * interpolate(
            rgb.mean(1, True), last.shape[2:])]


@pytest.mark.parametrize('type', ['LooksAgain', 'TakesApart'])
def test_a_host_that_looks_at_the_image_besides(type):
    """What its heads for one modality see of it has that one only."""
    cfg = model(type=f'mwam_mm.{type}')
    cfg['neck']['fusion'] = dict(type='mwam_mm.SumFusion')
    torch.manual_seed(0)
    host = build(cfg).train()
    items = [tiny.TinyPairs()[i] for i in range(4)]
    x, samples = host.data_preprocessor({
        key: [item[key] for item in items] for key in items[0]}, True).values()
    found = host.modality_heads.losses(
        host, host.backbone(x), dict(rgb=1., depth=1.), x, samples)
    for name, absent in (('rgb', slice(3, 4)), ('depth', slice(0, 3))):
        alone = x.clone()
        alone[:, absent] = 0
        torch.testing.assert_close(
            found[f'{name}.decode.loss_ce'],
            host.loss(alone, samples)['decode.loss_ce'])


def test_branches_run_once(tmp_path):
    runner = Runner.from_cfg(config(tmp_path, max_iters=2))
    calls = []
    for module in (runner.model.backbone, runner.model.neck,
                   *runner.model.backbone.branches.values()):
        module.register_forward_hook(lambda m, *_: calls.append(m))
    runner.train()
    assert len(calls) == 2 * 4


def test_a_modality_that_no_sample_has(tmp_path):
    """Every parameter gets a gradient, and the loss is 0."""
    runner = Runner.from_cfg(
        config(tmp_path, absent=range(8), max_iters=1))
    runner.train()
    path, = glob.glob(f'{runner.work_dir}/*/vis_data/scalars.json')
    with open(path) as f:
        log = json.loads(f.readline())
    assert log['depth.decode.loss_ce'] == 0
    assert 'depth.decode.acc_seg' not in log
    runner.call_hook('before_train')
    runner.model.train()
    batch = runner.model.data_preprocessor(
        dict(inputs=[torch.randn(4, 32, 32)] * 2,
             data_samples=[runner.train_dataloader.dataset[0]['data_samples']]
             * 2), True)
    runner.model.zero_grad()
    loss, _ = runner.model.parse_losses(
        runner.model(batch['inputs'], batch['data_samples'], mode='loss'))
    loss.backward()
    for name, p in runner.model.named_parameters():
        assert p.grad is not None or 'neck.fusions.0' in name, name
        if 'depth' in name and 'fusions' not in name:
            assert not p.grad.any(), name


def psp_head(**kwargs):
    return dict(
        tiny.model()['decode_head'],
        type='mmseg.PSPHead',
        norm_cfg=dict(type='BN'),
        pool_scales=(1, 2),
        **kwargs)


def head(**kwargs):
    cfg = dict(tiny.model()['decode_head'], **kwargs)
    cfg['loss_decode'] = dict(type='mmseg.CrossEntropyLoss')
    return cfg


MODELS_WITH_HEADS = dict(
    pooled=dict(),
    cascade=dict(
        type='mmseg.CascadeEncoderDecoder',
        num_stages=2,
        decode_head=[
            head(),
            dict(
                head(),
                type='mmseg.OCRHead',
                ocr_channels=4,
                norm_cfg=dict(type='BN'))
        ]),
    auxiliary=dict(auxiliary_head=head(in_channels=4, in_index=0)),
    neck=dict(
        neck=dict(
            tiny.model(mwam=dict())['neck'],
            neck=dict(
                type='mmseg.FPN',
                in_channels=[4, 8],
                out_channels=8,
                num_outs=2))))
MODELS_WITH_HEADS['pooled']['decode_head'] = {
    k: v
    for k, v in psp_head().items() if k not in ('num_convs', 'concat_input')
}
for cfg in MODELS_WITH_HEADS['cascade']['decode_head'][1:]:
    for key in ('num_convs', 'concat_input'):
        cfg.pop(key)


@pytest.mark.parametrize('name', MODELS_WITH_HEADS)
def test_models(tmp_path, name):
    """One sample of a batch has depth, which pooling heads must bear."""
    runner = Runner.from_cfg(
        config(
            tmp_path,
            model=model(**MODELS_WITH_HEADS[name]),
            absent=range(1, 8),
            max_iters=2))
    before = copy.deepcopy(runner.model.modality_heads)
    spy = spy_on(runner)
    runner.train()
    log = glob.glob(f'{runner.work_dir}/*/vis_data/scalars.json')[0]
    with open(log) as f:
        logs = [json.loads(line) for line in f]
    assert max(line[key] for line in logs for key in line
               if key.startswith('depth.') and 'loss' in key) > 0
    assert not any('aux' in key for key in logs[0] if key[:4] == 'rgb.')
    heads = runner.model.modality_heads
    assert ('neck' in heads['rgb']._modules) == (name == 'neck')
    for part in ('rgb', 'depth'):
        assert any((p != q).any() for p, q in zip(
            before[part].parameters(), heads[part].parameters()))
    assert len(spy.batch['data_samples']) == 4


@pytest.mark.parametrize('change,message', [
    (dict(neck=None), 'mwam_mm.MWAMNeck'),
    (dict(
        backbone=dict(
            tiny.model()['backbone'],
            branches=dict(
                depth=dict(
                    tiny.model()['backbone']['branch'], base_channels=8))),
        neck=dict(
            type='mwam_mm.MWAMNeck',
            modalities=tiny.MODALITIES,
            in_channels=dict(rgb=[4, 8], depth=[8, 16]),
            mwam=dict())), 'for 8 channels'),
])
def test_hosts_that_cannot_do_it(change, message):
    with pytest.raises(ValueError, match=message):
        build(model(**change))


def test_the_weights_need_not_be_those_of_mwam(tmp_path):
    """MWAMHook looks for the neck's mwam; another weigher does without."""
    plain = model(neck=tiny.model()['neck'])
    with pytest.raises(ValueError, match=r'mwam=dict\(\)'):
        Runner.from_cfg(
            config(tmp_path / 'a', model=plain, max_iters=1)).train()
    cfg = config(tmp_path / 'b', model=plain, max_iters=1)
    cfg.custom_hooks = [
        dict(
            type='mwam_mm.BalanceHook',
            weigher=dict(type='mwam_mm.Constant', k=dict(rgb=0., depth=3.)),
            intervention='loss')
    ]
    runner = Runner.from_cfg(cfg)
    runner.train()
    log = runner.message_hub
    assert log.get_scalar('train/rgb.decode.loss_ce').data[0][0] == 0
    assert log.get_scalar('train/depth.decode.loss_ce').data[0][0] > 0


def test_a_host_without_heads():
    class Headless(nn.Module):

        def __init__(self, neck):
            super().__init__()
            self.neck = build(neck)

    with pytest.raises(ValueError, match='Headless has no heads'):
        with_modality_heads(Headless, neck=tiny.model(dict())['neck'])


def test_hook_and_heads_belong_together(tmp_path):
    runner = Runner.from_cfg(
        config(tmp_path / 'a', model=tiny.model(dict()), max_iters=1))
    with pytest.raises(ValueError, match='with_modality_heads'):
        runner.train()
    runner = Runner.from_cfg(config(tmp_path / 'b', 'gradient', max_iters=1))
    with pytest.raises(ValueError, match='add "loss"'):
        runner.train()
    cfg = config(tmp_path / 'c', max_iters=1)
    cfg.custom_hooks = []
    with pytest.raises(RuntimeError, match="intervention='loss'"):
        Runner.from_cfg(cfg).train()
