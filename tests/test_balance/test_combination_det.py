"""The detectors' own losses of subsets, against forwards of their own."""
import pytest
import torch

from .. import tiny

pytest.importorskip('mmdet')
pytest.importorskip('mmcv.ops')
from ..test_models.test_modality_heads_det import (  # noqa: E402
    FASTER,
    RETINA,
    multimodal,
)
from .separate import assert_separate, kept  # noqa: E402

ATTENTION = dict(embed_dims=8, num_heads=2, dropout=0., batch_first=True)
FFN = dict(embed_dims=8, feedforward_channels=16, num_fcs=2, ffn_drop=0.)
DETR = dict(
    type='DETR',
    num_queries=5,
    encoder=dict(
        num_layers=1, layer_cfg=dict(self_attn_cfg=ATTENTION, ffn_cfg=FFN)),
    decoder=dict(
        num_layers=2,
        layer_cfg=dict(
            self_attn_cfg=ATTENTION, cross_attn_cfg=ATTENTION, ffn_cfg=FFN),
        return_intermediate=True),
    positional_encoding=dict(num_feats=4, normalize=True),
    bbox_head=dict(
        type='DETRHead',
        num_classes=2,
        embed_dims=8,
        # The head changes the dict, also that of its default.
        loss_cls=dict(type='CrossEntropyLoss', class_weight=1.)),
    train_cfg=dict(
        assigner=dict(
            type='HungarianAssigner',
            match_costs=[
                dict(type='ClassificationCost', weight=1.),
                dict(type='BBoxL1Cost', weight=5., box_format='xywh'),
                dict(type='IoUCost', iou_mode='giou', weight=2.)
            ])),
    test_cfg=dict(max_per_img=5))
DETECTORS = dict(
    retinanet=RETINA, faster_rcnn=FASTER, detr=DETR)


def job(work_dir, detector, dataset='BoxesPerModality'):
    model = multimodal(detector)
    model['neck'].update(mwam=None)
    if detector is DETR:
        # It takes a single level.
        model['backbone']['branch'] = dict(
            model['backbone']['branch'], out_indices=(3, ))
        model['neck'].update(in_channels=[32], neck=dict(
            type='ChannelMapper', in_channels=[32], out_channels=8,
            kernel_size=1, num_outs=1))
    cfg = tiny.config(
        work_dir,
        model=model,
        default_scope='mmdet',
        max_iters=1,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        visualizer=None)
    cfg.train_dataloader.dataset = dict(
        type=f'mwam_mm.{dataset}', absent=(1, 3))
    cfg.train_dataloader.sampler.shuffle = False
    return cfg


@pytest.mark.parametrize('subsets', ['singles', 'paired'])
@pytest.mark.parametrize('name', DETECTORS)
def test_one_step(tmp_path, name, subsets):
    keeper, _ = kept(
        job(tmp_path, DETECTORS[name]),
        dict(type='combination', subsets=subsets, weights='k'))
    weights = dict(rgb=0.5, depth=2.) if subsets == 'singles' else dict(
        paired=1.)
    if subsets == 'singles':
        assert keeper.subsets['depth']['depth'] == [True, False, True, False]
    assert_separate(keeper, weights)
    assert keeper.calls == ['rgb', 'depth']


@pytest.mark.parametrize('name, on', [
    ('retinanet', 'logits'), ('faster_rcnn', 'features')])
def test_distillation(tmp_path, name, on):
    keeper, _ = kept(
        job(tmp_path, DETECTORS[name]), dict(type='distill', on=on))
    for modality in ('rgb', 'depth'):
        assert keeper.losses[f'{modality}.loss_distill'] > 0


def test_class_scores_by_hand(tmp_path):
    keeper, _ = kept(
        job(tmp_path, RETINA), dict(type='distill', temperature=2.))
    model = keeper.before.train()
    x = keeper.batch['inputs']
    rgb = x.clone()
    rgb[:, 3:] = 0
    with torch.no_grad():
        teacher, student = (
            model.bbox_head(model.extract_feat(each))[0] for each in (x, rgb))
    total = weights = 0.
    for z_o, z_s in zip(teacher, student):
        p, q = (z / 2 for z in (z_o, z_s))
        p, q = (torch.distributions.Bernoulli(logits=z) for z in (p, q))
        kl = 4 * torch.distributions.kl_divergence(p, q)
        # One anchor and two classes at each location.
        weight = z_o.sigmoid().amax(1)
        total += (weight * kl.sum(1)).sum()
        weights += weight.sum()
    torch.testing.assert_close(
        keeper.losses['rgb.loss_distill'], total / weights, rtol=1e-4,
        atol=1e-7)


def test_logits_of_boxes_that_differ_are_refused(tmp_path):
    with pytest.raises(ValueError, match='"distill".*FasterRCNN.*features'):
        kept(job(tmp_path, FASTER), 'distill')
