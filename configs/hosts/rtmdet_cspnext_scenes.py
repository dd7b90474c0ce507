# RTMDet at an eighth of CSPNeXt's width, with its mosaics and mixed images.
_base_ = '../rgbd_det.py'
norm_cfg = dict(type='BN')
act_cfg = dict(type='SiLU', inplace=True)
channels = [32, 64, 128]
model = dict(
    type='RTMDet',
    backbone=dict(
        branch=dict(
            _delete_=True,
            type='CSPNeXt',
            arch='P5',
            expand_ratio=0.5,
            deepen_factor=0.167,
            widen_factor=0.125,
            channel_attention=True,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg)),
    neck=dict(
        in_channels=channels,
        neck=dict(
            _delete_=True,
            type='CSPNeXtPAFPN',
            in_channels=channels,
            out_channels=64,
            num_csp_blocks=1,
            expand_ratio=0.5,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg)),
    bbox_head=dict(
        _delete_=True,
        type='RTMDetSepBNHead',
        num_classes=7,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        exp_on_reg=False,
        anchor_generator=dict(
            type='MlvlPointGenerator', offset=0, strides=[8, 16, 32]),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(
            type='QualityFocalLoss', use_sigmoid=True, beta=2.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        with_objectness=False,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg),
    train_cfg=dict(
        _delete_=True,
        assigner=dict(type='DynamicSoftLabelAssigner', topk=13),
        allowed_border=-1,
        pos_weight=-1,
        debug=False))
modalities = _base_.modalities
load, annotations, *_, pack, drop = _base_.train_pipeline
train_pipeline = [
    load,
    dict(
        type='mwam_mm.multimodal',
        modalities=modalities,
        transforms=[
            annotations,
            dict(type='CachedMosaic', img_scale=(160, 120), prob=0.5,
                 max_cached_images=20),
            dict(type='RandomResize', scale=(320, 240),
                 ratio_range=(0.5, 1.0), keep_ratio=True),
            dict(type='RandomCrop', crop_size=(120, 160)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='Pad', size=(160, 120)),
            dict(type='CachedMixUp', img_scale=(160, 120), prob=0.5,
                 ratio_range=(1.0, 1.0), max_cached_images=10),
            pack,
        ]),
    drop,
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
