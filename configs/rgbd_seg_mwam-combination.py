# The recommended recipe on the embedded scenes: in place of dropout the losses
# of each modality alone, and the distance of its prediction to the complete
# one, both weighted by K. It takes 2.5 times as long as rgbd_seg_mwam.py.
_base_ = './rgbd_seg.py'
model = dict(neck=dict(mwam=dict()))
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=_base_.modalities),
    *_base_.train_transforms,
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
custom_hooks = [
    dict(
        type='mwam_mm.MWAMHook',
        intervention=[
            dict(type='combination', weights='k'),
            dict(type='distill', weights='k')
        ])
]
