"""Datasets and their transforms.

Those for segmentation are there only where mmseg is installed, those for
detection only where mmdet can be imported. Those for classification need
neither, nor mmpretrain.
"""
from mwam_mm.stack import has_detection, has_segmentation

from .casia_surf import CASIASURFDataset
from .clips import ClipDataset
from .multi_modal_cls import MultiModalClsDataset
from .scene_clip_dataset import SceneClipDataset
from .scene_cls_dataset import SceneClsDataset
from .transforms import *  # noqa: F401,F403

__all__ = [
    'CASIASURFDataset', 'ClipDataset', 'MultiModalClsDataset',
    'SceneClipDataset', 'SceneClsDataset'
]

if has_segmentation():
    from .benchmark import BenchmarkSegDataset
    from .fmb import FMBDataset
    from .mfnet import MFNetDataset
    from .msrs import MSRSDataset
    from .multi_modal_seg import MultiModalSegDataset
    from .nyu_depth_v2 import NYUDepthV2Dataset
    from .ombria import OmbriaDataset
    from .ombria_cls import OmbriaClsDataset
    from .potholes import PotholeDataset
    from .pst900 import PST900Dataset
    from .scene_dataset import SceneDataset
    from .sun_rgbd import SUNRGBDDataset

    __all__ += [
        'BenchmarkSegDataset', 'FMBDataset', 'MFNetDataset', 'MSRSDataset',
        'MultiModalSegDataset', 'NYUDepthV2Dataset', 'OmbriaClsDataset',
        'OmbriaDataset',
        'PST900Dataset', 'PotholeDataset', 'SUNRGBDDataset', 'SceneDataset'
    ]

if has_detection():
    from .benchmark_det import BenchmarkDetDataset
    from .drone_vehicle import DroneVehicleDataset
    from .flir_aligned import FLIRAlignedDataset
    from .kaist import KAISTDataset
    from .llvip import LLVIPDataset
    from .m3fd import M3FDDataset
    from .multi_modal_coco import MultiModalCocoDataset
    from .multi_modal_mix import MultiModalMixDataset
    from .pothole_det import PotholeDetDataset
    from .scene_det_dataset import SceneDetDataset
    from .sun_rgbd_det import SUNRGBDDetDataset
    from .urban_trees import UrbanTreesDataset
    from .vedai import VEDAIDataset

    __all__ += [
        'BenchmarkDetDataset', 'DroneVehicleDataset', 'FLIRAlignedDataset',
        'KAISTDataset', 'LLVIPDataset', 'M3FDDataset',
        'MultiModalCocoDataset', 'MultiModalMixDataset', 'PotholeDetDataset',
        'SUNRGBDDetDataset', 'SceneDetDataset', 'UrbanTreesDataset',
        'VEDAIDataset'
    ]
