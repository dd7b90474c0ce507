# ResNet-18 per modality at a quarter of its width, gated fusion at every
# level and SegFormer's all-MLP head: small enough for a CPU.
# The inheriting config names the modalities and the number of classes.
norm_cfg = dict(type='BN', requires_grad=True)
channels = [16, 32, 64, 128]
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='mwam_mm.MultiModalSegDataPreprocessor',
        size_divisor=32,
        test_cfg=dict(size_divisor=32)),
    backbone=dict(
        type='mwam_mm.MultiModalBackbone',
        branch=dict(
            type='ResNet',
            depth=18,
            base_channels=16,
            stem_channels=16,
            # The residual blocks start as themselves, not as identities:
            # a short training from scratch gets further.
            zero_init_residual=False,
            norm_cfg=norm_cfg)),
    neck=dict(
        type='mwam_mm.MWAMNeck',
        in_channels=channels,
        fusion=dict(type='mwam_mm.GatedFusion')),
    decode_head=dict(
        type='SegformerHead',
        in_channels=channels,
        in_index=[0, 1, 2, 3],
        channels=64,
        dropout_ratio=0.1,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss')),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
