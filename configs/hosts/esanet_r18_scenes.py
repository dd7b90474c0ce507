# ResNet-18 streams fused inside the encoder, in the manner of ESANet.
_base_ = '../rgbd_seg.py'
model = dict(backbone=dict(type='mwam_mm.ESANetBackbone'), neck=None)
