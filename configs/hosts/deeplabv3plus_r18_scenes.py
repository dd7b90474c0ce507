# ResNet-18 at stride 8 with DeepLabV3+'s head.
_base_ = '../rgbd_seg.py'
model = dict(
    backbone=dict(
        branch=dict(
            type='ResNetV1c',
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            contract_dilation=True)),
    decode_head=dict(
        _delete_=True,
        type='DepthwiseSeparableASPPHead',
        in_channels=128,
        in_index=3,
        channels=32,
        dilations=(1, 6, 12, 18),
        c1_in_channels=16,
        c1_channels=12,
        dropout_ratio=0.1,
        num_classes=8,
        norm_cfg=_base_.norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss')))
