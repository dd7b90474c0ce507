_base_ = './three-stream-r18_md_casia-surf.py'
model = dict(neck=dict(mwam=dict()))
custom_hooks = [dict(type='mwam_mm.MWAMHook')]
