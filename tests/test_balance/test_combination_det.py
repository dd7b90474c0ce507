"""The detectors' own losses of subsets, against forwards of their own."""
import pytest
import torch

from .. import tiny

pytest.importorskip('mmdet')
pytest.importorskip('mmcv.ops')
from mmdet.models import dense_heads  # noqa: E402

from mwam_mm.balance.interventions.boxes import gives_boxes  # noqa: E402
from mwam_mm.registry import MODELS  # noqa: E402

from ..test_models.test_modality_heads_det import (  # noqa: E402
    FASTER,
    RETINA,
    STRIDES,
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
    # Gradients are of size 1, and sums of the joined batch have an order of
    # their own on a GPU.
    assert_separate(keeper, weights, rtol=1e-4, atol=1e-4)
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


FCOS = dict(
    type='FCOS',
    bbox_head=dict(
        type='FCOSHead',
        num_classes=2,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        strides=STRIDES,
        regress_ranges=((-1, 32), (32, 64), (64, 1e8)),
        norm_on_bbox=True,
        norm_cfg=tiny.NORM,
        # Boxes with an area: sides of about one stride.
        init_cfg=dict(
            type='Normal', layer='Conv2d', std=0.1, bias=0.,
            override=dict(type='Normal', name='conv_reg', std=0.1, bias=1.))))
GFL = dict(
    type='GFL',
    bbox_head=dict(
        type='GFLHead',
        num_classes=2,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        reg_max=4,
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True),
        loss_bbox=dict(type='GIoULoss'),
        norm_cfg=tiny.NORM,
        anchor_generator=dict(
            type='AnchorGenerator',
            ratios=[1.],
            octave_base_scale=8,
            scales_per_octave=1,
            strides=STRIDES)),
    train_cfg=dict(
        assigner=dict(type='ATSSAssigner', topk=9),
        allowed_border=-1,
        pos_weight=-1))


@MODELS.register_module()
class RetinaOfItsOwn(dense_heads.RetinaHead):
    """Codes boxes in its own way."""

    def _predict_by_feat_single(self, *args, **kwargs):
        raise NotImplementedError


def sides(name, code):
    """Left, top, right and bottom from a point within a box of its anchor,
    in a unit that is the same for both boxes of a location."""
    batch, _, height, width = code.shape
    code = code.permute(0, 2, 3, 1)
    if name == 'fcos':
        return code
    if name == 'gfl':
        bins = code.reshape(batch, height, width, 4, 5).softmax(4)
        return (bins * torch.arange(5., device=bins.device)).sum(4)
    # Of an anchor from -1/2 to 1/2.
    dx, dy, dw, dh = code.unbind(3)
    return torch.stack([
        dw.exp() / 2 - dx, dh.exp() / 2 - dy, dw.exp() / 2 + dx,
        dh.exp() / 2 + dy], 3)


def giou_by_hand(a, b):
    wide = torch.minimum(a, b)[..., 0] + torch.minimum(a, b)[..., 2]
    high = torch.minimum(a, b)[..., 1] + torch.minimum(a, b)[..., 3]
    inter = wide.clamp(min=0) * high.clamp(min=0)
    union = sum((x[..., 0] + x[..., 2]) * (x[..., 1] + x[..., 3])
                for x in (a, b)) - inter
    hull = (torch.maximum(a, b)[..., 0] + torch.maximum(a, b)[..., 2]) * (
        torch.maximum(a, b)[..., 1] + torch.maximum(a, b)[..., 3])
    # A box may have no area, by the numbers that a device draws.
    union, hull = union.clamp(min=1e-6), hull.clamp(min=1e-6)
    return inter / union - (hull - union) / hull


@pytest.mark.parametrize('name, detector', [
    ('retinanet', RETINA), ('fcos', FCOS), ('gfl', GFL)])
def test_boxes_by_hand(tmp_path, name, detector):
    keeper, _ = kept(
        job(tmp_path, detector), dict(type='distill', box_weight=3.))
    model = keeper.before.train()
    x = keeper.batch['inputs']
    rgb = x.clone()
    rgb[:, 3:] = 0
    (scores, teacher), (_, student) = (
        model.bbox_head(model.extract_feat(each))[:2] for each in (x, rgb))
    total = weights = 0.
    for z, a, b in zip(scores, teacher, student):
        weight = z.detach().sigmoid().amax(1)
        far = 1 - giou_by_hand(sides(name, a.detach()), sides(name, b))
        total = total + (weight * far).sum()
        weights = weights + weight.sum()
    loss = keeper.losses['rgb.loss_distill_box']
    assert loss > 1e-3
    torch.testing.assert_close(loss, 3 * total / weights, rtol=1e-3, atol=1e-6)
    assert 'rgb.loss_distill' in keeper.losses


def test_boxes_are_pulled_to_the_complete_ones(tmp_path):
    """Of the gradient, only that of the boxes from the subset."""
    keeper, _ = kept(
        job(tmp_path, RETINA),
        dict(type='distill', weight=0., box_weight=1.))
    model = keeper.before.train()
    losses = model.loss(keeper.batch['inputs'], keeper.batch['data_samples'])
    plain = torch.autograd.grad(
        sum(sum(v) for v in losses.values()),
        model.bbox_head.retina_reg.weight)[0]
    pulled = keeper.gradients['bbox_head.retina_reg.weight']
    assert not torch.allclose(plain, pulled, rtol=1e-3)


@pytest.mark.parametrize('name, known', [
    ('ATSSHead', True), ('RTMDetHead', True), ('VFNetHead', False),
    ('TOODHead', False), ('YOLOXHead', False), ('RepPointsHead', False)])
def test_how_heads_code_boxes(name, known):
    cls = getattr(dense_heads, name)
    assert gives_boxes(cls.__new__(cls)) == known


@pytest.mark.parametrize('detector, options, message', [
    (RETINA, dict(box_weight=-1.), 'box_weight=-1.0 must not be negative'),
    (RETINA, dict(box_weight=1., on='features'), "goes with on='logits'"),
    (dict(RETINA, bbox_head=dict(
        RETINA['bbox_head'], type='mwam_mm.RetinaOfItsOwn')),
     dict(box_weight=1.), 'RetinaOfItsOwn codes.*box_weight=0')])
def test_boxes_that_are_refused(tmp_path, detector, options, message):
    with pytest.raises(ValueError, match=message):
        kept(job(tmp_path, detector), dict(options, type='distill'))


CENTERNET = dict(
    type='CenterNet',
    bbox_head=dict(
        type='CenterNetHead', num_classes=2, in_channels=8, feat_channels=8),
    train_cfg=None)
TOOD = dict(
    RETINA,
    type='TOOD',
    bbox_head=dict(
        type='TOODHead',
        num_classes=2,
        in_channels=8,
        feat_channels=8,
        stacked_convs=2,
        norm_cfg=tiny.NORM,
        anchor_generator=RETINA['bbox_head']['anchor_generator'],
        initial_loss_cls=dict(type='FocalLoss', use_sigmoid=True),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True,
                      activated=True),
        loss_bbox=dict(type='GIoULoss')),
    train_cfg=dict(
        RETINA['train_cfg'],
        initial_epoch=1,
        initial_assigner=dict(type='ATSSAssigner', topk=9),
        assigner=dict(type='TaskAlignedAssigner', topk=13),
        alpha=1,
        beta=6))


@pytest.mark.parametrize('detector', [FASTER, CENTERNET, TOOD],
                         ids=lambda detector: detector['type'])
def test_outputs_that_are_no_class_logits_of_places(tmp_path, detector):
    """Boxes that differ, marks of points, and probabilities are refused."""
    with pytest.raises(ValueError, match='"distill".*' + detector['type'] +
                       ".*on='features'"):
        kept(job(tmp_path, detector), 'distill')
