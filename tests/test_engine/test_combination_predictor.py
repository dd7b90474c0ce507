"""Batches whose samples have different modalities, sample by sample."""
import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from torch import nn

from mwam_mm.engine.combination_predictor import CombinationPredictor
from mwam_mm.layout import with_presence
from mwam_mm.registry import MODELS

from .. import tiny

# A black image of both is 0 after normalisation, and an image.
MODALITIES = dict(
    rgb=dict(channels=3, std=255.), depth=dict(channels=1, std=2.))
CHANNELS = dict(rgb=slice(0, 3), depth=slice(3, 4))
COMBINATIONS = [('rgb', 'depth'), ('rgb', ), ('depth', )]
HAS = [('rgb', 'depth'), ('rgb', ), ('rgb', 'depth'), ('depth', ),
       ('rgb', 'depth')]


@MODELS.register_module()
class TwoEncoders(nn.Module):
    """Two backbones and their necks, of which the maps are added."""

    def __init__(self, backbone, neck):
        super().__init__()
        self.encoders = nn.ModuleList(
            nn.Sequential(MODELS.build(backbone), MODELS.build(neck))
            for _ in range(2))

    def forward(self, x):
        first, second = (encoder(x) for encoder in self.encoders)
        return [a + b for a, b in zip(first, second)]


def build(encoders):
    cfg = ConfigDict(copy.deepcopy(tiny.model()))
    for part in ('data_preprocessor', 'backbone', 'neck'):
        cfg[part].modalities = MODALITIES
    if encoders == 2:
        cfg.backbone = dict(
            type='mwam_mm.TwoEncoders', backbone=cfg.backbone,
            neck=cfg.pop('neck'))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:  # or a branch would make 0 of a black image
            nn.init.normal_(parameter)
    return model


def preprocessed(model):
    """RGB of the first sample and depth of the third are black."""
    items = [copy.deepcopy(tiny.TinyPairs()[i]) for i in range(len(HAS))]
    items[0]['inputs'][:3] = 0
    items[2]['inputs'][3] = 0
    for item, has in zip(items, HAS):
        item['data_samples'].set_metainfo(
            dict(absent_modalities=[n for n in CHANNELS if n not in has]))
    data = model.data_preprocessor(
        {key: [item[key] for item in items] for key in items[0]}, False)
    return data['inputs'], data['data_samples']


def alone(model, x, sample, names):
    """Logits of one sample that has some of the modalities."""
    x = x[None].clone()
    for name, channels in CHANNELS.items():
        if name not in names:
            x[:, channels] = 0
    with_presence(x, {name: [name in names] for name in CHANNELS})
    return model(x, [sample.new()], mode='predict')[0].seg_logits.data


@pytest.mark.parametrize('encoders', [1, 2])
def test_each_sample_as_if_by_itself(encoders):
    """One encoder serves all combinations; two get other inputs."""
    model = build(encoders)
    x, samples = preprocessed(model)
    before = x.clone()
    counts = [True] * 4 + [False]
    found = {}
    with torch.no_grad():
        for names, predictions in CombinationPredictor(model).predict(
                x, samples, counts, COMBINATIONS):
            for i, prediction in predictions.items():
                assert (names, i) not in found
                assert prediction.img_path == samples[i].img_path
                found[names, i] = prediction.seg_logits.data
        assert set(found) == {(names, i) for names in COMBINATIONS
                              for i in range(4) if set(names) & set(HAS[i])}
        for (names, i), logits in found.items():
            names = set(names) & set(HAS[i])
            torch.testing.assert_close(
                logits, alone(model, x[i], samples[i], names))
    assert torch.equal(x, before)
    # A black image is not as if there were none.
    assert (found[('rgb', 'depth'), 0] != found[('depth', ), 0]).any()
    assert all('pred_sem_seg' not in sample for sample in samples)


class Named:
    """A fault that changes nothing and notes what it gets."""
    name, modality = 'depth.none', 'depth'

    def __init__(self):
        self.seen = []

    def __call__(self, inputs, samples, places, layout):
        assert len(inputs) == len(samples) == len(places)
        self.seen += zip(places, (s.img_path for s in samples),
                         inputs[:, 0, 5, 5].tolist())
        return inputs


def test_a_fault_gets_each_sample_with_its_place():
    model = build(1)
    x, samples = preprocessed(model)
    fault = Named()
    with torch.no_grad():
        found = list(CombinationPredictor(model).predict(
            x, samples, [True] * 4 + [False], [], [fault],
            [10, 11, 12, 13, 14]))
    assert sorted(fault.seen) == [
        (10 + i, samples[i].img_path, x[i, 0, 5, 5].item()) for i in range(4)]
    assert {names for names, _ in found} == {('depth.none', )}
    assert sorted(i for _, p in found for i in p) == [0, 1, 2, 3]


@pytest.mark.parametrize('fp16', [True, False])
def test_half_precision(fp16, on_cpu):
    model = build(1)
    x, samples = preprocessed(model)
    types = []
    model.decode_head.conv_seg.register_forward_hook(
        lambda module, args, output: types.append(output.dtype))
    with torch.no_grad():
        list(CombinationPredictor(model, fp16).predict(
            x, samples, [True] * 5, COMBINATIONS))
    assert len(types) == 3 + 2 + 2  # of samples that have both, or one
    assert all((dtype != torch.float32) == fp16 for dtype in types)
