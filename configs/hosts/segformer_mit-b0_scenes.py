# SegFormer-B0. SGD, like all of these: under AdamW the gradients' scale, by
# which MWAM acts, divides out.
_base_ = '../rgbd_seg.py'
channels = [32, 64, 160, 256]
model = dict(
    backbone=dict(
        branch=dict(
            _delete_=True,
            type='MixVisionTransformer',
            embed_dims=32,
            num_layers=[2, 2, 2, 2],
            num_heads=[1, 2, 5, 8],
            patch_sizes=[7, 3, 3, 3],
            sr_ratios=[8, 4, 2, 1],
            drop_path_rate=0.1)),
    neck=dict(in_channels=channels),
    decode_head=dict(in_channels=channels))
optim_wrapper = dict(
    optimizer=dict(lr=0.05), clip_grad=dict(max_norm=1.))
