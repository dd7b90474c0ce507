# Gradients and a loss per modality, both weighted by K.
_base_ = './two-stream-r18_md_mwam_floods.py'
model = dict(type='mwam_mm.with_modality_heads', host=_base_.model.type)
custom_hooks = [
    dict(type='mwam_mm.MWAMHook', intervention=['loss', 'gradient'])
]
