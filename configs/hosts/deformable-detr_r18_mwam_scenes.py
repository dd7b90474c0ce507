_base_ = './deformable-detr_r18_scenes.py'
model = dict(neck=dict(mwam=dict()))
custom_hooks = [dict(type='mwam_mm.MWAMHook', intervention='update')]
