# The main job: rgbd_seg.py with the branches' gradients weighted by MWAM.
_base_ = './rgbd_seg.py'
model = dict(neck=dict(mwam=dict()))
custom_hooks = [dict(type='mwam_mm.MWAMHook')]
