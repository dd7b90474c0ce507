"""The weighted loss in detection, against stock single-modality detectors."""
import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch import nn
from torch.utils.data import Dataset

from mwam_mm.mwam import MWAM
from mwam_mm.registry import DATASETS, MODELS

from .. import tiny

pytest.importorskip('mmdet')
pytest.importorskip('mmcv.ops')
from mmdet.structures import DetDataSample  # noqa: E402

SGD = dict(optimizer=dict(type='SGD', lr=1.))
CHANNELS = dict(rgb=slice(0, 3), depth=slice(3, 4))


@DATASETS.register_module()
class BoxesPerModality(Dataset):
    """Noise with one box; depth is 0 in the samples in ``absent``."""

    metainfo = dict(classes=('a', 'b'), palette=[(0, 0, 0), (255, 0, 0)])

    def __init__(self, absent=()):
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(4, 4, 64, 64, generator=generator)
        self.images[list(absent), 3] = 0

    def __len__(self):
        return 4

    def __getitem__(self, i):
        sample = DetDataSample(
            gt_instances=InstanceData(
                bboxes=torch.tensor([[4. + 4 * i, 8., 40., 44.]]),
                labels=torch.tensor([i % 2])),
            metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64), img_id=i))
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
        return dict(inputs=self.images[i], data_samples=sample)


def branch(channels):
    return dict(
        type='ResNet',
        depth=18,
        in_channels=channels,
        base_channels=4,
        stem_channels=4,
        out_indices=(1, 2, 3),
        norm_cfg=dict(type='GN', num_groups=1),
        style='pytorch')


FPN = dict(type='FPN', in_channels=[8, 16, 32], out_channels=8, num_outs=3)
STRIDES = [8, 16, 32]
CODER = dict(type='DeltaXYWHBBoxCoder')
ASSIGNER = dict(
    type='MaxIoUAssigner',
    pos_iou_thr=0.5,
    neg_iou_thr=0.4,
    min_pos_iou=0,
    ignore_iof_thr=-1)
# More than there are, so that nothing is drawn.
SAMPLER = dict(
    type='RandomSampler', num=100000, pos_fraction=0.5, neg_pos_ub=-1)
RETINA = dict(
    type='RetinaNet',
    bbox_head=dict(
        type='RetinaHead',
        num_classes=2,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=1,
            ratios=[1.0],
            strides=STRIDES),
        bbox_coder=CODER,
        loss_cls=dict(type='FocalLoss', use_sigmoid=True),
        loss_bbox=dict(type='L1Loss')),
    train_cfg=dict(
        assigner=ASSIGNER,
        sampler=dict(type='PseudoSampler'),
        allowed_border=-1,
        pos_weight=-1))
PROPOSALS = dict(
    nms_pre=50, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7),
    min_bbox_size=0)
FASTER = dict(
    type='FasterRCNN',
    rpn_head=dict(
        type='RPNHead',
        in_channels=8,
        feat_channels=8,
        anchor_generator=dict(
            type='AnchorGenerator', scales=[4], ratios=[1.0],
            strides=STRIDES),
        bbox_coder=CODER,
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
        loss_bbox=dict(type='L1Loss')),
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=2, sampling_ratio=0),
            out_channels=8,
            featmap_strides=STRIDES),
        bbox_head=dict(
            type='Shared2FCBBoxHead',
            in_channels=8,
            fc_out_channels=8,
            roi_feat_size=2,
            num_classes=2,
            bbox_coder=CODER,
            loss_cls=dict(type='CrossEntropyLoss'),
            loss_bbox=dict(type='L1Loss'))),
    train_cfg=dict(
        rpn=dict(
            assigner=ASSIGNER,
            sampler=dict(SAMPLER, add_gt_as_proposals=False),
            allowed_border=-1,
            pos_weight=-1),
        rpn_proposal=PROPOSALS,
        rcnn=dict(
            assigner=ASSIGNER,
            sampler=dict(SAMPLER, add_gt_as_proposals=True),
            pos_weight=-1)),
    test_cfg=dict(
        rpn=PROPOSALS,
        rcnn=dict(
            score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=10)))
DETECTORS = dict(retinanet=RETINA, faster_rcnn=FASTER)


def multimodal(detector):
    return dict(
        detector,
        data_preprocessor=dict(type='DetDataPreprocessor'),
        backbone=dict(
            type='mwam_mm.MultiModalBackbone',
            modalities=tiny.MODALITIES,
            branch=branch(3)),
        neck=dict(
            type='mwam_mm.MWAMNeck',
            modalities=tiny.MODALITIES,
            in_channels=FPN['in_channels'],
            neck=FPN,
            mwam=dict()))


def build(cfg):
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(ConfigDict(copy.deepcopy(cfg)))


def heads_of(model):
    """The children that follow the fusion."""
    return {
        name: child
        for name, child in model.named_children()
        if name not in ('data_preprocessor', 'backbone', 'neck')
    }


def total(losses):
    return sum(
        sum(v) if isinstance(v, (list, tuple)) else v
        for key, v in losses.items() if 'loss' in key)


@pytest.mark.parametrize('intervention', ('loss', ['loss', 'gradient']))
@pytest.mark.parametrize('name', DETECTORS)
def test_one_sgd_step(tmp_path, name, intervention):
    detector = DETECTORS[name]
    absent = (1, 3)
    cfg = tiny.config(
        tmp_path,
        hook=dict(type='mwam_mm.MWAMHook', intervention=intervention),
        model=dict(
            multimodal(detector),
            type='mwam_mm.with_modality_heads',
            host=detector['type']),
        default_scope='mmdet',
        max_iters=1,
        optim_wrapper=SGD,
        visualizer=None)
    cfg.train_dataloader.dataset = dict(
        type='mwam_mm.BoxesPerModality', absent=absent)
    cfg.train_dataloader.sampler.shuffle = False
    runner = Runner.from_cfg(cfg)
    runner.model.init_weights()
    device = tiny.device_of(runner)
    plain = build(multimodal(detector)).to(device)
    plain.neck.mwam = None
    plain.load_state_dict(runner.model.state_dict())  # the same keys
    runner.train()

    # The same by the stock detector, on one modality at a time.
    batch = [BoxesPerModality(absent)[i] for i in range(4)]
    x = torch.stack([item['inputs'] for item in batch]).to(device)
    samples = [item['data_samples'].to(device) for item in batch]
    for sample in samples:
        sample.set_metainfo(
            dict(batch_input_shape=(64, 64), pad_shape=(64, 64)))
    inputs = {n: x[:, channels] for n, channels in CHANNELS.items()}
    k = dict(zip(inputs, MWAM(list(inputs)).update(inputs)))
    singles = {}
    for modality, image in inputs.items():
        stock = build(
            dict(
                detector, backbone=branch(image.size(1)), neck=FPN,
                data_preprocessor=dict(type='DetDataPreprocessor')))
        stock.to(device)
        stock.backbone = plain.backbone.branches[modality]
        stock.neck.load_state_dict(plain.neck.neck.state_dict())
        for key, child in heads_of(stock).items():
            child.load_state_dict(getattr(plain, key).state_dict())
        singles[modality] = stock.train()
    before = nn.ModuleDict(dict(singles, fused=plain))
    old = {n: p.detach().clone() for n, p in before.named_parameters()}
    loss = total(plain.train().loss(x, samples))
    for modality, image in inputs.items():
        has = [i for i in range(4) if image[i].any()]
        assert len(has) == (4 if modality == 'rgb' else 2)
        loss = loss + k[modality] * total(singles[modality].loss(
            image[has], [samples[i] for i in has]))
    loss.backward()
    if 'gradient' in intervention:
        for modality in inputs:
            for p in plain.backbone.branches[modality].parameters():
                p.grad *= k[modality]
    torch.optim.SGD(before.parameters(), 1.).step()

    changed = 0
    for key, p in runner.model.named_parameters():
        parts = key.split('.')
        if parts[0] == 'modality_heads':
            reference = '.'.join(parts[1:])
        elif parts[:2] == ['backbone', 'branches']:
            reference = '.'.join([parts[2], 'backbone', *parts[3:]])
        else:
            reference = f'fused.{key}'
        expected = dict(before.named_parameters())[reference]
        torch.testing.assert_close(p, expected, rtol=1e-4, atol=1e-5)
        changed += not torch.equal(expected, old[reference])
    assert changed > 100


def test_a_modality_that_no_sample_has():
    model = build(
        dict(
            multimodal(FASTER),
            type='mwam_mm.with_modality_heads',
            host='FasterRCNN'))
    model.modality_heads.in_training = True
    seen = []
    model.neck.listeners.append(seen.append)
    batch = [BoxesPerModality(range(4))[i] for i in range(2)]
    batch = model.data_preprocessor(
        dict(inputs=[item['inputs'] for item in batch],
             data_samples=[item['data_samples'] for item in batch]), True)
    losses = model.train()(**batch, mode='loss')
    losses.update(
        model.modality_heads.losses(
            model, seen[0], dict(rgb=torch.tensor(1.), depth=torch.tensor(1.)),
            **batch))
    assert total({n: v for n, v in losses.items() if n[:6] == 'depth.'}) == 0
    assert total({n: v for n, v in losses.items() if n[:4] == 'rgb.'}) > 0
    total(losses).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
