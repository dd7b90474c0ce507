_base_ = './two-stream-r18-cls_md_floods.py'
model = dict(neck=dict(mwam=dict()))
custom_hooks = [dict(type='mwam_mm.MWAMHook')]
