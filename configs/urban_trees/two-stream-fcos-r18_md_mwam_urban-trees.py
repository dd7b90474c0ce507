_base_ = './two-stream-fcos-r18_md_urban-trees.py'
model = dict(neck=dict(mwam=dict()))
custom_hooks = [dict(type='mwam_mm.MWAMHook')]
