# YOLOX at an eighth of CSPDarknet's width, with mosaics and mixed images.
_base_ = '../rgbd_det.py'
channels = [32, 64, 128]
model = dict(
    type='YOLOX',
    backbone=dict(
        branch=dict(
            _delete_=True,
            type='CSPDarknet',
            deepen_factor=0.33,
            widen_factor=0.125)),
    neck=dict(
        in_channels=channels,
        neck=dict(
            _delete_=True,
            type='YOLOXPAFPN',
            in_channels=channels,
            out_channels=64,
            num_csp_blocks=1)),
    bbox_head=dict(
        _delete_=True,
        type='YOLOXHead',
        num_classes=7,
        in_channels=64,
        feat_channels=64),
    train_cfg=dict(
        _delete_=True,
        assigner=dict(type='SimOTAAssigner', center_radius=2.5)),
    test_cfg=dict(
        _delete_=True,
        score_thr=0.01,
        nms=dict(type='nms', iou_threshold=0.65)))
modalities = _base_.modalities
load, annotations, *_, pack, drop = _base_.train_pipeline
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mwam_mm.MultiModalMixDataset',
        modalities=modalities,
        dataset=dict(
            type=_base_.dataset_type,
            data_root=_base_.data_root,
            split='train',
            pipeline=[load, annotations]),
        pipeline=[
            dict(type='Mosaic', img_scale=(160, 120)),
            dict(type='RandomAffine', scaling_ratio_range=(0.5, 1.5),
                 border=(-80, -60)),
            dict(type='MixUp', img_scale=(160, 120), ratio_range=(0.8, 1.6)),
            dict(type='RandomFlip', prob=0.5),
            pack,
            drop,
        ]))
