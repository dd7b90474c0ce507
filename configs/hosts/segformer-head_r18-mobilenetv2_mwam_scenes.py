_base_ = './segformer-head_r18-mobilenetv2_scenes.py'
model = dict(neck=dict(mwam=dict()))
custom_hooks = [dict(type='mwam_mm.MWAMHook')]
