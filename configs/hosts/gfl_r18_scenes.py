# ResNet-18 with GFL's head on the embedded scene set.
_base_ = '../rgbd_det.py'
model = dict(
    type='GFL',
    bbox_head=dict(
        _delete_=True,
        type='GFLHead',
        num_classes=7,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        reg_max=8,
        norm_cfg=dict(type='GN', num_groups=16),
        anchor_generator=dict(
            type='AnchorGenerator',
            ratios=[1.0],
            octave_base_scale=4,
            scales_per_octave=1,
            strides=[8, 16, 32]),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.25),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0)))
