# A small ViT with UPerNet's head. Its levels have one size; MMSegmentation's
# MultiLevelNeck, wrapped by ours, makes a pyramid of the fused ones.
_base_ = './upernet_r18_scenes.py'
channels = [96, 96, 96, 96]
model = dict(
    backbone=dict(
        branch=dict(
            _delete_=True,
            type='VisionTransformer',
            img_size=(96, 128),
            patch_size=16,
            embed_dims=96,
            num_layers=8,
            num_heads=3,
            out_indices=(1, 3, 5, 7),
            drop_path_rate=0.1,
            interpolate_mode='bilinear')),
    neck=dict(
        in_channels=channels,
        neck=dict(
            type='MultiLevelNeck',
            in_channels=channels,
            out_channels=96,
            scales=[4, 2, 1, 0.5])),
    decode_head=dict(in_channels=channels),
    auxiliary_head=dict(in_channels=96))
optim_wrapper = dict(
    optimizer=dict(lr=0.05), clip_grad=dict(max_norm=1.))
