_base_ = './three-stream-retinanet-r50_md_coco.py'
model = dict(neck=dict(mwam=dict()))
custom_hooks = [dict(type='mwam_mm.MWAMHook')]
