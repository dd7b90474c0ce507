# Modality dropout whose probabilities follow K, in place of the uniform one.
_base_ = './two-stream-r18_mwam_potholes.py'
custom_hooks = [dict(type='mwam_mm.MWAMHook', intervention='dropout')]
