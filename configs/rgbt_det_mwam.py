# rgbt_det.py with the branches' gradients weighted by MWAM.
_base_ = './rgbt_det.py'
model = dict(neck=dict(mwam=dict()))
custom_hooks = [dict(type='mwam_mm.MWAMHook')]
