"""Stock detectors with one branch per modality."""
import copy
import json
import os.path as osp
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, METRICS, MODELS, init_default_scope

from mwam_mm.convert.heads import set_num_classes
from mwam_mm.convert.pretrained import thaw_backbone
from mwam_mm.models.backbones.pretrained import replace_stems

mmdet = pytest.importorskip('mmdet')
pytest.importorskip('mmcv.ops')

ZOO = osp.join(osp.dirname(mmdet.__file__), '.mim', 'configs')
MODALITIES = dict(
    rgb=dict(channels=3, mean=[1., 2., 3.], bgr_to_rgb=True),
    depth=dict(channels=1))
RETINA = 'retinanet/retinanet_r18_fpn_1x_coco.py'
R18 = {'backbone.depth': 18, 'neck.in_channels': [64, 128, 256, 512]}


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


def zoo(name):
    return Config.fromfile(osp.join(ZOO, name)).model


def build(base, **kwargs):
    kwargs.setdefault('modalities', MODALITIES)
    return MODELS.build(dict(type='mwam_mm.multimodal', base=base, **kwargs))


def batch(channels, size=64):
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    sample = DetDataSample(
        metainfo=dict(
            img_id=0,
            img_shape=(size, size),
            ori_shape=(size, size),
            scale_factor=(1., 1.)),
        gt_instances=InstanceData(
            bboxes=torch.tensor([[4., 8., 40., 50.]]),
            labels=torch.tensor([2])))
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 255, (channels, size, size), generator=generator)
    return dict(inputs=[image], data_samples=[sample])


def test_one_modality_is_the_stock_detector():
    base = zoo(RETINA)
    base.backbone.update(init_cfg=None, norm_eval=False, frozen_stages=-1)
    base.data_preprocessor.update(
        mean=[1., 2., 3.], std=[1., 1., 1.], pad_size_divisor=96)
    stock = MODELS.build(base)
    model = build(
        base, modalities=dict(rgb=MODALITIES['rgb']), num_classes=80)
    assert type(model) is type(stock)
    model.load_state_dict({
        key.replace('backbone.', 'backbone.branches.rgb.').replace(
            'neck.', 'neck.neck.'): value
        for key, value in stock.state_dict().items()
    })
    losses = []
    for m in (model, stock):
        data = m.data_preprocessor(batch(3), True)
        assert data['inputs'].shape == (1, 3, 96, 96)
        losses.append(m.loss(data['inputs'], data['data_samples']))
    for key, values in losses[1].items():
        for one, other in zip(losses[0][key], values):
            torch.testing.assert_close(one, other)


def test_classes_of_every_head():
    cascade = zoo('cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py')
    model = build(cascade, num_classes=7, override=R18)
    assert [h.num_classes for h in model.roi_head.bbox_head] == [7] * 3
    assert [h.num_classes for h in model.roi_head.mask_head] == [7] * 3
    assert model.rpn_head.num_classes == 1


def test_one_class_is_not_the_proposals():
    """Face detectors and the like: the RPN has one class as well."""
    base = zoo('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    base.roi_head.bbox_head.num_classes = 1
    base.rpn_head.num_classes = 1
    set_num_classes(base, 7)
    assert base.roi_head.bbox_head.num_classes == 7
    assert base.rpn_head.num_classes == 1


def test_what_is_about_stuff_is_left_out():
    htc = zoo('htc/htc_r50_fpn_1x_coco.py')
    assert htc.roi_head.semantic_head
    set_num_classes(htc, 7)
    assert htc.roi_head.semantic_head is None
    assert htc.roi_head.semantic_roi_extractor is None

    panoptic = zoo('mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py')
    set_num_classes(panoptic, 7)
    for head in (panoptic.panoptic_head, panoptic.panoptic_fusion_head):
        assert (head.num_things_classes, head.num_stuff_classes) == (7, 0)
    assert panoptic.panoptic_head.loss_cls.class_weight == [1.] * 7 + [0.1]
    assert panoptic.test_cfg.instance_on and not panoptic.test_cfg.panoptic_on


@pytest.mark.parametrize('name, norm_eval, frozen', [
    ('ResNet', True, 1), ('ResNet', None, None), ('EfficientNet', True, 3)])
def test_nothing_random_stays_frozen(name, norm_eval, frozen):
    branch = ConfigDict(type=name, norm_cfg=dict(
        type='BN', requires_grad=False))
    if norm_eval is not None:
        branch.update(norm_eval=norm_eval, frozen_stages=frozen)
    pretrained = ConfigDict(
        copy.deepcopy(branch),
        init_cfg=dict(type='Pretrained', checkpoint='r.pth'))
    before = copy.deepcopy(pretrained)
    thaw_backbone(pretrained, {})
    assert pretrained == before
    kept = copy.deepcopy(branch)
    thaw_backbone(kept, {'backbone.norm_eval': norm_eval})
    assert kept.get('norm_eval') == norm_eval

    thaw_backbone(branch, {})
    assert branch.norm_eval is False and branch.norm_cfg.requires_grad
    if frozen is not None:
        assert branch.frozen_stages == (0 if name == 'EfficientNet' else -1)


def test_every_parameter_of_an_unpretrained_backbone_is_trained():
    model = build(zoo('atss/atss_r50_fpn_1x_coco.py'), override=R18)
    model.train()
    assert all(p.requires_grad for p in model.backbone.parameters())
    assert all(m.training for m in model.backbone.modules())


@pytest.mark.parametrize('channels', [1, 2, 4])
def test_focus_stem(channels):
    """A grey image gives what its RGB version gave."""
    torch.manual_seed(0)
    backbone = MODELS.build(
        dict(type='CSPDarknet', widen_factor=0.125, deepen_factor=0.33))
    backbone.eval()
    grey = torch.rand(1, 1, 64, 64)
    expected = backbone(grey.repeat(1, 3, 1, 1))
    assert replace_stems(backbone, channels)
    assert backbone.stem.conv.conv.in_channels == 4 * channels
    for a, b in zip(backbone(grey.repeat(1, channels, 1, 1)), expected):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_focus_stem_of_pretrained_weights(tmp_path):
    cfg = dict(type='CSPDarknet', widen_factor=0.125, deepen_factor=0.33)
    stock = MODELS.build(cfg)
    torch.save(stock.state_dict(), tmp_path / 'yolox.pth')
    backbone = MODELS.build(
        dict(
            type='mwam_mm.MultiModalBackbone',
            modalities=MODALITIES,
            branch=dict(
                cfg,
                init_cfg=dict(
                    type='Pretrained',
                    checkpoint=str(tmp_path / 'yolox.pth')))))
    backbone.init_weights()
    weight = stock.stem.conv.conv.weight
    depth = backbone.branches.depth.stem.conv.conv.weight
    assert torch.equal(backbone.branches.rgb.stem.conv.conv.weight, weight)
    for phase in range(4):  # subsampled images, each of 3 channels
        torch.testing.assert_close(
            depth[:, phase], weight[:, 3 * phase:3 * phase + 3].sum(1))


@pytest.mark.parametrize('name, reason', [
    ('glip/glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365.py',
     'vision-language'),
    ('grounding_dino/grounding_dino_r50_scratch_8xb2_1x_coco.py',
     'vision-language'),
    ('bytetrack/bytetrack_yolox_x_8xb4-80e_crowdhuman-mot17halftrain_'
     'test-mot17halfval.py', 'wraps a whole detector'),
    ('soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-'
     'coco.py', 'wraps a whole detector'),
    ('ld/ld_r18-gflv1-r101_fpn_1x_coco.py', 'trained RGB detector'),
    ('boxinst/boxinst_r50_fpn_ms-90k_coco.py', 'RGB colours'),
    ('masktrack_rcnn/masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis'
     '2019.py', 'videos'),
    ('panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py', 'label maps of stuff'),
    ('tridentnet/tridentnet_r50-caffe_1x_coco.py', 'three images for one'),
])
def test_what_cannot_be_carried_is_an_error(name, reason):
    with pytest.raises(ValueError, match=f'(?s){reason}'):
        build(zoo(name), num_classes=7)


def docs_recipes():
    """Those of docs/inherit.md: a detector, and one that mixes images."""
    repo = Path(__file__).resolve().parents[2]
    section = (repo / 'docs/inherit.md').read_text().split(
        '## MMDetection')[1]
    return [textwrap.dedent(part.split('```')[0])
            for part in section.split('```python\n')[1:]]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The working directory, with the dataset of the recipes."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / 'data/mine'
    root.mkdir(parents=True)
    cv2.imwrite(str(root / 'a.png'), np.full((48, 64, 3), 99, np.uint8))
    cv2.imwrite(str(root / 'a_d.png'), np.full((48, 64), 2800, np.uint16))
    content = dict(
        images=[
            dict(id=1, file_name='a.png', depth_path='a_d.png', height=48,
                 width=64)
        ],
        annotations=[
            dict(id=1, image_id=1, category_id=5, bbox=[4, 8, 30, 20],
                 area=600, iscrowd=0)
        ],
        categories=[dict(id=3, name='person'), dict(id=5, name='car')])
    for split in ('train', 'val'):
        (root / f'{split}.json').write_text(json.dumps(content))
    return tmp_path


def test_the_recipe_of_the_docs(mine):
    """From a COCO json to one training step."""
    recipe = docs_recipes()[0]
    assert len(recipe.splitlines()) <= 15
    (mine / 'job.py').write_text(
        recipe.replace('retinanet_r50_fpn_1x', 'retinanet_r18_fpn_1x'))
    cfg = Config.fromfile('job.py')
    # The scale of the schedule is COCO's.
    for step in cfg.train_dataloader.dataset.pipeline[0].transforms:
        if step.type == 'Resize':
            step.scale = (64, 64)
    sample = DATASETS.build(cfg.train_dataloader.dataset)[0]
    assert sample['inputs'].shape == (4, 48, 64)
    assert sample['data_samples'].gt_instances.labels.tolist() == [1]
    model = MODELS.build(cfg.model)
    assert model.bbox_head.num_classes == 2
    data = model.data_preprocessor(pseudo_collate([sample]), True)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert all(torch.isfinite(v) for vs in losses.values() for v in vs)
    assert (data['inputs'][0, 3, :48].abs() < 1e-6).all()  # 2.8 metres
    DATASETS.build(cfg.val_dataloader.dataset)[0]
    METRICS.build(cfg.val_evaluator)


def test_the_recipe_of_the_docs_for_a_base_that_mixes_images(mine):
    recipe, mixing = docs_recipes()
    (mine / 'job.py').write_text(
        recipe.replace('retinanet/retinanet_r50_fpn_1x_coco',
                       'yolox/yolox_tiny_8xb8-300e_coco') + mixing)
    dataset = DATASETS.build(
        Config.fromfile('job.py').train_dataloader.dataset)
    assert type(dataset).__name__ == 'MultiModalMixDataset'
    assert dataset[0]['inputs'].shape[0] == 4
