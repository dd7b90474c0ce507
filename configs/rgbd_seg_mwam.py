# The main job: rgbd_seg.py with the branches' gradients weighted by MWAM. It
# is over in minutes; with more time take the recommended recipe, combination
# and distill in place of dropout: docs/which.md, configs/potholes.
_base_ = './rgbd_seg.py'
model = dict(neck=dict(mwam=dict()))
custom_hooks = [dict(type='mwam_mm.MWAMHook')]
