"""The families of MMSegmentation's model zoo train with MWAM.

One config of each: made multimodal by tools/misc/to_multimodal.py --smoke,
trained for one iteration and evaluated on the embedded set, in one process.
"""
import importlib.util

import pytest

from .stacks import is_official
from .zoo import train_with_mwam

# Fewer layers of the same width, where a family has no small variant.
SHALLOW_VIT = {'backbone.num_layers': 4, 'backbone.out_indices': [0, 1, 2, 3]}
SHALLOW_RESNET = {'backbone.depth': 50}
ZOO = {
    'ann/ann_r50-d8_4xb4-80k_ade20k-512x512.py': {},
    'beit/beit-base_upernet_8xb2-160k_ade20k-640x640.py': SHALLOW_VIT,
    'bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024.py': {},
    'bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py': {},
    'ccnet/ccnet_r50-d8_4xb4-80k_ade20k-512x512.py': {},
    'cgnet/cgnet_fcn_4xb4-60k_cityscapes-680x680.py': {},
    'ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py': {},
    'deeplabv3/deeplabv3_r18-d8_4xb2-80k_cityscapes-769x769.py': {},
    'deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-769x769.py': {},
    'dpt/dpt_vit-b16_8xb2-160k_ade20k-512x512.py': SHALLOW_VIT,
    'encnet/encnet_r50-d8_4xb4-80k_ade20k-512x512.py': {},
    'erfnet/erfnet_fcn_4xb4-160k_cityscapes-512x1024.py': {},
    'fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py': {},
    'fcn/fcn_r18-d8_4xb2-80k_cityscapes-769x769.py': {},
    'hrnet/fcn_hr18s_4xb2-160k_cityscapes-512x1024.py': {},
    'icnet/icnet_r18-d8_4xb2-80k_cityscapes-832x832.py': {},
    'knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py': {},
    'mae/mae-base_upernet_8xb2-amp-160k_ade20k-512x512.py': SHALLOW_VIT,
    'mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py': {},
    'maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512.py': {},
    'mobilenet_v2/mobilenet-v2-d8_fcn_4xb4-160k_ade20k-512x512.py': {},
    'mobilenet_v3/mobilenet-v3-d8-s_lraspp_4xb4-320k_cityscapes-512x1024.py':
    {},
    'ocrnet/ocrnet_hr18s_4xb4-80k_ade20k-512x512.py': {},
    'pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py': {},
    'point_rend/pointrend_r50_4xb4-160k_ade20k-512x512.py': {},
    'psanet/psanet_r50-d8_4xb4-80k_ade20k-512x512.py': {},
    'pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-769x769.py': {},
    'resnest/resnest_s101-d8_fcn_4xb2-80k_cityscapes-512x1024.py':
    SHALLOW_RESNET,
    'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py': {},
    'segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py': {},
    'segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py': {},
    'sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py': {},
    'stdc/stdc1_4xb12-80k_cityscapes-512x1024.py': {},
    'swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-'
    '512x512.py': {},
    'twins/twins_svt-s_fpn_fpnhead_8xb4-80k_ade20k-512x512.py': {},
    'unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64.py': {},
    'upernet/upernet_r18_4xb4-80k_ade20k-512x512.py': {},
    'vit/vit_deit-s16_upernet_8xb2-160k_ade20k-512x512.py': {},
}
SIZES = dict(mobilenet_v3=512)  # found by the tool itself
NEEDS = dict(
    ccnet=('mmcv._ext', ),
    mask2former=('mmdet', 'mmcv._ext'),
    maskformer=('mmdet', 'mmcv._ext'),
    psanet=('mmcv._ext', ),
    point_rend=('mmcv._ext', ))


def installed(package):
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The working directory of all runs: the scenes are rendered once."""
    return tmp_path_factory.mktemp('zoo')


def test_enough_families():
    assert len({name.split('/')[0] for name in ZOO}) == len(ZOO) >= 25


@pytest.mark.parametrize('name', ZOO, ids=lambda name: name.split('/')[0])
def test_family_trains_with_mwam(name, folder, monkeypatch):
    family = name.split('/')[0]
    for package in NEEDS.get(family, ()):
        if not installed(package):
            pytest.skip(f'{family} needs {package}, which is not installed')
    monkeypatch.chdir(folder)
    if family == 'segnext' and is_official():
        with pytest.raises(ValueError, match='MSCAN.* to have 3 channels'):
            train_with_mwam('mmseg', name, folder, 64, ZOO[name])
        return
    train_with_mwam('mmseg', name, folder, SIZES.get(family, 64), ZOO[name])
