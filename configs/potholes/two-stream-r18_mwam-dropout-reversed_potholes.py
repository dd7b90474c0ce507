# The control: more often alone is the preferred modality, as K is turned into
# 2 - K.
_base_ = './two-stream-r18_mwam-dropout_potholes.py'
model = dict(neck=dict(mwam=dict(lam=-6.0)))
