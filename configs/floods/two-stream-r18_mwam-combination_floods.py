# The recommended recipe: the losses of each modality alone, and the distance
# of its prediction to the complete one, both weighted by K.
_base_ = './two-stream-r18_floods.py'
model = dict(neck=dict(mwam=dict()))
custom_hooks = [
    dict(
        type='mwam_mm.MWAMHook',
        intervention=[
            dict(type='combination', weights='k'),
            dict(type='distill', weights='k')
        ])
]
