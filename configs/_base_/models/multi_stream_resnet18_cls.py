# ResNet-18 per modality, concatenation of their last maps, global pooling and
# a linear classifier. The inheriting config names the modalities and the
# number of classes.
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='mwam_mm.MultiModalClsDataPreprocessor'),
    backbone=dict(
        type='mwam_mm.MultiModalBackbone',
        branch=dict(
            type='ResNet',
            depth=18,
            # The residual blocks start as themselves, not as identities: a
            # short training from scratch gets further.
            zero_init_residual=False,
            norm_cfg=norm_cfg)),
    neck=dict(
        type='mwam_mm.MWAMNeck',
        in_channels=[512],
        fusion=dict(type='mwam_mm.ConcatFusion'),
        neck=dict(type='GlobalAveragePooling')),
    head=dict(
        type='LinearClsHead',
        in_channels=512,
        loss=dict(type='CrossEntropyLoss')))
