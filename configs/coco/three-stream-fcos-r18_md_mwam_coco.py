_base_ = './three-stream-fcos-r18_md_coco.py'
model = dict(neck=dict(mwam=dict()))
custom_hooks = [dict(type='mwam_mm.MWAMHook')]
