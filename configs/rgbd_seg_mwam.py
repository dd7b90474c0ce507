# The main job: rgbd_seg.py with the branches' gradients weighted by MWAM. It
# is over in minutes; rgbd_seg_mwam-combination.py has the recommended recipe.
_base_ = './rgbd_seg.py'
model = dict(neck=dict(mwam=dict()))
custom_hooks = [dict(type='mwam_mm.MWAMHook')]
