# ResNet-18 with the mean and variance of the present modalities, in the manner
# of MMANet.
_base_ = '../rgbd_seg.py'
model = dict(
    neck=dict(
        fusion=dict(
            type='mwam_mm.MeanVarFusion',
            norm_cfg=_base_.norm_cfg,
            act_cfg=dict(type='ReLU'))))
