_base_ = './two-stream-atss-r18_md_potholes.py'
model = dict(neck=dict(mwam=dict()))
custom_hooks = [dict(type='mwam_mm.MWAMHook')]
