# ResNet-18 per modality at a quarter of its width, gated fusion at every
# level, FPN and ATSS's head: small enough for a CPU.
# The inheriting config names the modalities and the number of classes.
norm_cfg = dict(type='BN', requires_grad=True)
channels = [32, 64, 128]
model = dict(
    type='ATSS',
    data_preprocessor=dict(
        type='mwam_mm.MultiModalDetDataPreprocessor', pad_size_divisor=32),
    backbone=dict(
        type='mwam_mm.MultiModalBackbone',
        branch=dict(
            type='ResNet',
            depth=18,
            base_channels=16,
            stem_channels=16,
            out_indices=(1, 2, 3),
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
            type='FPN', in_channels=channels, out_channels=64, num_outs=3)),
    bbox_head=dict(
        type='ATSSHead',
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        norm_cfg=dict(type='GN', num_groups=16),
        # Squares of 32, 64 and 128 pixels.
        anchor_generator=dict(
            type='AnchorGenerator',
            ratios=[1.0],
            octave_base_scale=4,
            scales_per_octave=1,
            strides=[8, 16, 32]),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[0., 0., 0., 0.],
            target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(
            type='FocalLoss',
            use_sigmoid=True,
            gamma=2.0,
            alpha=0.25,
            loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        loss_centerness=dict(
            type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)),
    train_cfg=dict(
        assigner=dict(type='ATSSAssigner', topk=9),
        allowed_border=-1,
        pos_weight=-1,
        debug=False),
    test_cfg=dict(
        nms_pre=300,
        min_bbox_size=0,
        score_thr=0.05,
        nms=dict(type='nms', iou_threshold=0.6),
        max_per_img=100))
