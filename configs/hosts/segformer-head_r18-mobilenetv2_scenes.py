# Branches of different type and width: ResNet-18 for RGB, MobileNetV2 at half
# its width for depth. ConcatFusion projects both to the wider one's channels.
_base_ = '../rgbd_seg.py'
model = dict(
    backbone=dict(
        branches=dict(
            depth=dict(
                type='MobileNetV2',
                widen_factor=0.5,
                out_indices=(1, 2, 4, 6)))),
    neck=dict(
        in_channels=dict(
            _delete_=True, rgb=[16, 32, 64, 128], depth=[16, 16, 48, 160]),
        fusion=dict(type='mwam_mm.ConcatFusion')),
    decode_head=dict(in_channels=[16, 32, 64, 160]))
