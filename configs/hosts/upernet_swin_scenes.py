# Swin at a third of Swin-T's width and 8 blocks, with UPerNet's head.
_base_ = './upernet_r18_scenes.py'
channels = [32, 64, 128, 256]
model = dict(
    backbone=dict(
        branch=dict(
            _delete_=True,
            type='SwinTransformer',
            embed_dims=32,
            depths=(2, 2, 2, 2),
            num_heads=(1, 2, 4, 8),
            window_size=7,
            drop_path_rate=0.1)),
    neck=dict(in_channels=channels),
    decode_head=dict(in_channels=channels),
    auxiliary_head=dict(in_channels=128))
optim_wrapper = dict(
    optimizer=dict(lr=0.05), clip_grad=dict(max_norm=1.))
