_base_ = './two-stream-retinanet-r50_md_vedai.py'
model = dict(neck=dict(mwam=dict()))
custom_hooks = [dict(type='mwam_mm.MWAMHook')]
