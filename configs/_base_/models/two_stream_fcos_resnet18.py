# ResNet-18 per modality at a quarter of its width, gated fusion at every
# level, and FCOS at strides 8 and 16: small objects, small enough for a CPU.
# The inheriting config names the modalities and the number of classes.
norm_cfg = dict(type='BN', requires_grad=True)
channels = [16, 32, 64]
model = dict(
    type='FCOS',
    data_preprocessor=dict(
        type='mwam_mm.MultiModalDetDataPreprocessor', pad_size_divisor=32),
    backbone=dict(
        type='mwam_mm.MultiModalBackbone',
        branch=dict(
            type='ResNet',
            depth=18,
            num_stages=3,
            strides=(1, 2, 2),
            dilations=(1, 1, 1),
            out_indices=(0, 1, 2),
            base_channels=16,
            stem_channels=16,
            # From scratch: statistics are learnt, and the residual blocks
            # start as themselves, not as identities.
            norm_eval=False,
            zero_init_residual=False,
            norm_cfg=norm_cfg)),
    neck=dict(
        type='mwam_mm.MWAMNeck',
        in_channels=channels,
        fusion=dict(type='mwam_mm.GatedFusion'),
        neck=dict(
            type='FPN',
            in_channels=channels,
            out_channels=64,
            start_level=1,
            num_outs=2,
            norm_cfg=norm_cfg)),
    bbox_head=dict(
        type='FCOSHead',
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        strides=[8, 16],
        regress_ranges=((-1, 64), (64, 1e8)),
        center_sampling=True,
        center_sample_radius=1.5,
        norm_on_bbox=True,
        centerness_on_reg=True,
        norm_cfg=dict(type='GN', num_groups=8, requires_grad=True),
        loss_cls=dict(
            type='FocalLoss',
            use_sigmoid=True,
            gamma=2.0,
            alpha=0.25,
            loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
        loss_centerness=dict(
            type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)),
    train_cfg=None,
    test_cfg=dict(
        nms_pre=1000,
        min_bbox_size=0,
        # Low: a short training gives low scores, and mAP takes all.
        score_thr=0.001,
        nms=dict(type='nms', iou_threshold=0.5),
        max_per_img=200))
