# ResNet-50 per modality, gated fusion at every level, FPN and RetinaNet: for
# datasets of full size, on GPUs.
# The inheriting config names the modalities and the number of classes.
norm_cfg = dict(type='BN', requires_grad=True)
channels = [256, 512, 1024, 2048]
model = dict(
    type='RetinaNet',
    data_preprocessor=dict(
        type='mwam_mm.MultiModalDetDataPreprocessor', pad_size_divisor=32),
    backbone=dict(
        type='mwam_mm.MultiModalBackbone',
        branch=dict(
            type='ResNet', depth=50, norm_eval=False, norm_cfg=norm_cfg)),
    neck=dict(
        type='mwam_mm.MWAMNeck',
        in_channels=channels,
        fusion=dict(type='mwam_mm.GatedFusion'),
        neck=dict(
            type='FPN',
            in_channels=channels,
            out_channels=256,
            start_level=1,
            add_extra_convs='on_input',
            num_outs=5)),
    bbox_head=dict(
        type='RetinaHead',
        in_channels=256,
        feat_channels=256,
        stacked_convs=4,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128]),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[1.0, 1.0, 1.0, 1.0]),
        loss_cls=dict(
            type='FocalLoss',
            use_sigmoid=True,
            gamma=2.0,
            alpha=0.25,
            loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
    train_cfg=dict(
        assigner=dict(
            type='MaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.4,
            min_pos_iou=0,
            ignore_iof_thr=-1),
        # Focal loss takes all anchors.
        sampler=dict(type='PseudoSampler'),
        allowed_border=-1,
        pos_weight=-1,
        debug=False),
    test_cfg=dict(
        nms_pre=1000,
        min_bbox_size=0,
        # Low: a short training gives low scores, and mAP takes all.
        score_thr=0.001,
        nms=dict(type='nms', iou_threshold=0.5),
        max_per_img=100))
