"""The families of MMDetection's model zoo train with MWAM.

One config of each: made multimodal by tools/misc/to_multimodal.py --smoke,
trained for one iteration and evaluated on the embedded set, in one process.
"""
import pytest

from .stacks import needs_detection
from .zoo import train_with_mwam

pytestmark = needs_detection

# Fewer layers, where a family has no small variant.
R18 = {'backbone.depth': 18}
FPN18 = dict(R18, **{'neck.in_channels': [64, 128, 256, 512]})
C5_18 = dict(R18, **{'neck.in_channels': [512]})
C345_18 = dict(R18, **{'neck.in_channels': [128, 256, 512]})
SHALLOW_DETR = {
    'encoder.num_layers': 1,
    'decoder.num_layers': 2,
    'num_queries': 30,
    'test_cfg.max_per_img': 30,
}
ZOO = {
    'atss/atss_r50_fpn_1x_coco.py': FPN18,
    'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py': FPN18,
    'centernet/centernet_r18_8xb16-crop512-140e_coco.py': {},
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py':
    dict(C345_18, **SHALLOW_DETR),
    'detr/detr_r50_8xb2-150e_coco.py': dict(C5_18, **SHALLOW_DETR),
    'dino/dino-4scale_r50_8xb2-12e_coco.py': dict(C345_18, **SHALLOW_DETR),
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py': FPN18,
    'fcos/fcos_r18_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-'
    'lsj-200e_coco.py': {},
    'foveabox/fovea_r50_fpn_4xb4-1x_coco.py': FPN18,
    'fsaf/fsaf_r50_fpn_1x_coco.py': FPN18,
    'gfl/gfl_r50_fpn_1x_coco.py': FPN18,
    'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py': {},
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py': FPN18,
    'paa/paa_r50_fpn_1x_coco.py': FPN18,
    'pvt/retinanet_pvt-t_fpn_1x_coco.py': {},
    'reppoints/reppoints-moment_r50_fpn_1x_coco.py': FPN18,
    'retinanet/retinanet_r18_fpn_1x_coco.py': {},
    'rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py': {},
    'solov2/solov2-light_r18_fpn_ms-3x_coco.py': {},
    'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py': FPN18,
    'ssd/ssd300_coco.py': {},
    'swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py': {},
    'tood/tood_r50_fpn_1x_coco.py': FPN18,
    'vfnet/vfnet_r50_fpn_1x_coco.py': FPN18,
    'yolo/yolov3_mobilenetv2_8xb24-ms-416-300e_coco.py': {},
    'yolof/yolof_r50-c5_8xb8-1x_coco.py': {},
    'yolox/yolox_tiny_8xb8-300e_coco.py': {},
}
SIZES = dict(ssd=300)  # found by the tool itself


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The working directory of all runs: the scenes are rendered once."""
    return tmp_path_factory.mktemp('zoo')


def test_enough_families():
    assert len({name.split('/')[0] for name in ZOO}) == len(ZOO) >= 20


@pytest.mark.parametrize('name', ZOO, ids=lambda name: name.split('/')[0])
def test_family_trains_with_mwam(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    family = name.split('/')[0]
    train_with_mwam('mmdet', name, folder, SIZES.get(family, 64), ZOO[name])
