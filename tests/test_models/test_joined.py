"""What a batch is joined of; whole steps are in test_balance."""
import copy

import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.models import EncoderDecoder
from mmseg.models.decode_heads import FCNHead
from torch import nn

from mwam_mm.models.backbones import BranchOutputs
from mwam_mm.models.host import find_host, heads_of, normalises
from mwam_mm.models.joined import (
    JoinedForward,
    _concatenate,
    splittable_heads,
)
from mwam_mm.registry import MODELS

from .. import tiny
from .test_host import batch


@MODELS.register_module()
class LossOfItsOwn(EncoderDecoder):

    def loss(self, inputs, data_samples):
        return super().loss(inputs, data_samples)


@MODELS.register_module()
class HeadLossOfItsOwn(FCNHead):

    def loss(self, inputs, batch_data_samples, train_cfg):
        return super().loss(inputs, batch_data_samples, train_cfg)


def build(head=None, **model):
    cfg = copy.deepcopy(tiny.model())
    cfg['decode_head'].update(head or {})
    cfg.update(model)
    with DefaultScope.overwrite_default_scope('mmseg'):
        torch.manual_seed(0)
        return MODELS.build(cfg).train()


@pytest.mark.parametrize('change, splittable', [
    ({}, True),
    (dict(type='mwam_mm.with_modality_heads', host='mmseg.EncoderDecoder'),
     True),  # those of each modality are none of the model's own
    (dict(type='mwam_mm.LossOfItsOwn'), False),
    (dict(head=dict(type='mwam_mm.HeadLossOfItsOwn')), False),
])
def test_heads_that_can_run_once(change, splittable):
    model = build(**change)
    assert splittable_heads(model) == (
        [model.decode_head] if splittable else [])


def test_layers_that_see_the_whole_batch():
    assert not normalises(*heads_of(build()))
    model = build(dict(norm_cfg=dict(type='BN')))
    assert normalises(*heads_of(model))
    for module in model.decode_head.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    assert not normalises(*heads_of(model))


def test_rows_that_nobody_has_of_a_modality():
    """Are 0 there, and so is every level; what nobody has at all is None."""
    def outputs(rows, has):
        return BranchOutputs(
            {n: (torch.ones(rows, 2, 4, 4), torch.ones(rows, 3, 2, 2))
             if h else None for n, h in has.items()},
            {n: torch.full((rows, 1, 8, 8), float(rows)) for n in has},
            {n: [h] * rows for n, h in has.items()})

    joined = _concatenate(
        outputs(2, dict(a=True, b=True, c=False)),
        outputs(3, dict(a=True, b=False, c=False)))
    assert joined.features['c'] is None
    for level in joined.features['a']:
        assert len(level) == 5 and (level == 1).all()
    for level in joined.features['b']:
        assert (level[:2] == 1).all() and len(level) == 5
        assert not level[2:].any()
    assert joined.inputs['b'][:, 0, 0, 0].tolist() == [2, 2, 3, 3, 3]
    assert joined.present == dict(
        a=[True] * 5, b=[True] * 2 + [False] * 3, c=[False] * 5)


def test_losses_and_logits_of_a_subset():
    """They are made once, and only what is of the batch is split."""
    model = build()
    x, samples = batch(model).values()
    host, outputs = find_host(model), model.backbone(x)
    joined = JoinedForward(
        host, outputs, outputs, dict(
            one=dict(rgb=[True, False, False, True], depth=[False] * 4),
            none=dict(rgb=[False] * 4, depth=[False] * 4)), x, samples)
    assert list(joined.groups) == ['one']
    assert joined.groups['one'] == ([0, 3], [4, 5], False)
    with host.backbone.replay(joined.outputs):
        joined.after_neck(model.neck(joined.outputs))
        model.decode_head(joined.fused)
    joined.close()
    taken = joined.take(
        dict(a=torch.arange(6), b=[torch.arange(7), torch.tensor(3.)],
             c='x'), [5, 0])
    assert taken['a'].tolist() == [5, 0]
    assert taken['b'][0].tolist() == list(range(7))
    assert taken['b'][1] == 3 and taken['c'] == 'x'
    losses = joined.losses('one')
    assert joined.losses('one') is losses
    zeroed = x[[0, 3]].clone()
    zeroed[:, 3:] = 0
    torch.testing.assert_close(
        losses['decode.loss_ce'],
        model.loss(zeroed, [samples[0], samples[3]])['decode.loss_ce'])
    torch.testing.assert_close(
        joined.logits('one'), model(zeroed, mode='tensor'))
