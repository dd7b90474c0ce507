"""A model's own neck and heads, on features that are there already."""
import copy

import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.models.decode_heads import FCNHead
from torch import nn

from mwam_mm.models.host import find_host
from mwam_mm.models.subsets import select
from mwam_mm.registry import MODELS

from .. import tiny

CHANNELS = dict(rgb=slice(0, 3), depth=slice(3, 4))


def build(host='mmseg.EncoderDecoder', **decode_head):
    cfg = dict(tiny.model(), type=host)
    cfg['decode_head'].update(decode_head)
    with DefaultScope.overwrite_default_scope('mmseg'):
        torch.manual_seed(0)
        return MODELS.build(copy.deepcopy(cfg)).train()


def batch(model, absent=()):
    items = [tiny.TinyPairs()[i] for i in range(4)]
    for i, name in absent:
        items[i]['data_samples'].set_metainfo(dict(absent_modalities=[name]))
    return model.data_preprocessor(
        dict(inputs=[item['inputs'] for item in items],
             data_samples=[item['data_samples'] for item in items]), True)


def zeroed(x, *names):
    """The stacked tensor with the channels of the other modalities at 0."""
    x = x.clone()
    for name, channels in CHANNELS.items():
        if name not in names:
            x[:, channels] = 0
    return x


@pytest.mark.parametrize('host', ['mmseg.EncoderDecoder',
                                  'mwam_mm.LooksAgain'])
@pytest.mark.parametrize('absent', [(), ((1, 'depth'), (2, 'rgb'))])
def test_losses_and_gradients_are_those_of_zeroed_inputs(absent, host):
    model = build(host)
    x, samples = batch(model, absent).values()
    host = find_host(model)
    subsets = [('rgb', 'depth'), ('rgb', ), ('depth', )]

    def gradients(loss):
        model.zero_grad()
        loss.backward()
        return {n: p.grad.clone() for n, p in model.named_parameters()
                if p.grad is not None}

    def separate(names):
        """By a forward of their own; which samples have any of them."""
        rows = [i for i in range(4) if names != ('rgb', ) and
                (i, 'depth') not in absent or names != ('depth', ) and
                (i, 'rgb') not in absent]
        return rows, model.loss(
            zeroed(x, *names)[rows],
            [samples[i] for i in rows])['decode.loss_ce']

    for names in subsets:
        rows, loss = separate(names)
        selection = select(model.backbone(x), names)
        assert selection.rows == rows
        assert selection.outputs.present == {
            name: [name in names and (i, name) not in absent for i in rows]
            for name in CHANNELS}
        ours = host.losses(selection, x, samples)['decode.loss_ce']
        torch.testing.assert_close(ours, loss)
        a, b = gradients(ours), gradients(loss)
        for name in b:
            torch.testing.assert_close(
                a.get(name, torch.zeros_like(b[name])), b[name], rtol=1e-4,
                atol=1e-7)


def test_branches_run_once_whatever_the_number_of_subsets():
    model = build()
    x, samples = batch(model).values()
    calls = []
    for branch in model.backbone.branches.values():
        branch.register_forward_hook(lambda *_: calls.append(1))
    outputs = model.backbone(x)
    host = find_host(model)
    for names in (('rgb', ), ('depth', ), ('rgb', 'depth')):
        host.losses(select(outputs, names), x, samples)
    assert len(calls) == 2


def test_scoring_learns_nothing_and_leaves_everything_as_it_was():
    model = build(norm_cfg=dict(type='BN'), dropout_ratio=0.5)
    x, samples = batch(model).values()
    host = find_host(model)
    outputs = model.backbone(x)
    state = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    with host.scoring():
        a, b = (host.losses(select(outputs, ['rgb']), x, samples)
                for _ in range(2))
    assert torch.equal(a['decode.loss_ce'], b['decode.loss_ce'])
    assert not a['decode.loss_ce'].requires_grad
    assert torch.equal(torch.get_rng_state(), random)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert all(m.training for m in model.modules())


def test_scoring_keeps_modes_of_layers():
    """A layer that is frozen stays so; heads are as in training."""
    model = build(norm_cfg=dict(type='BN'), dropout_ratio=0.5)
    norm = next(m for m in model.decode_head.modules()
                if isinstance(m, nn.BatchNorm2d))
    norm.eval()
    before = {m: m.training for m in model.modules()}
    with pytest.raises(KeyError), find_host(model).scoring():
        assert model.training and model.decode_head.training
        assert not model.decode_head.dropout.training
        assert not torch.is_grad_enabled()
        raise KeyError
    assert {m: m.training for m in model.modules()} == before
    assert torch.is_grad_enabled()


@MODELS.register_module()
class CountsAndAttends(FCNHead):
    """Has buffers that change in place and by assignment, as those of
    Seesaw loss and EMANet, and dropout within an attention."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.register_buffer('calls', torch.zeros(()))
        self.register_buffer('mean', torch.ones(8))
        self.register_buffer('scale', torch.ones(8))
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.5)

    def forward(self, inputs):
        x = inputs[1] * (self.mean * self.scale).view(1, -1, 1, 1)
        x = x * self.scale.view(1, -1, 1, 1)  # which backward needs
        self.calls += 1
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean((0, 2, 3))
        tokens = x.flatten(2).permute(2, 0, 1)
        tokens, _ = self.attention(tokens, tokens, tokens)
        return self.conv_seg(tokens.permute(1, 2, 0).view_as(x))


def test_scoring_leaves_what_a_head_counts():
    model = build(type='mwam_mm.CountsAndAttends')
    x, samples = batch(model).values()
    host = find_host(model)
    model(x, samples, mode='loss')
    losses = model(x, samples, mode='loss')['decode.loss_ce']
    outputs = model.backbone(x)
    state = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    with host.scoring():
        host.losses(select(outputs, ['rgb']), x, samples)
    assert torch.equal(torch.get_rng_state(), random)
    assert model.decode_head.calls == 2
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    losses.backward()


def test_logits_of_a_subset():
    model = build()
    x, _ = batch(model).values()
    selection = select(model.backbone(x), ['depth'])
    torch.testing.assert_close(
        find_host(model).logits(selection, x),
        model(zeroed(x, 'depth'), mode='tensor'))


def test_only_one_backbone_and_one_neck_make_a_host():
    model = build()
    assert find_host(model).neck is model.neck
    pair = nn.ModuleList([model, build()])
    assert find_host(pair) is find_host(model.decode_head) is None
    assert find_host(nn.ModuleList([model.backbone])).neck is None
