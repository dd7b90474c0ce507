_base_ = './action.py'
model = dict(neck=dict(mwam=dict()))
custom_hooks = [dict(type='mwam_mm.MWAMHook')]
