_base_ = './two-stream-r18_md_ucf101.py'
model = dict(neck=dict(mwam=dict()))
custom_hooks = [dict(type='mwam_mm.MWAMHook')]
