# ResNet-18 with a small Deformable DETR on the embedded scene set.
_base_ = '../rgbd_det.py'
channels = [32, 64, 128]
attention = dict(embed_dims=64, num_heads=4, batch_first=True)
model = dict(
    _delete_=True,
    type='DeformableDETR',
    num_queries=50,
    num_feature_levels=3,
    with_box_refine=True,
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=_base_.model.backbone,
    neck=dict(
        type='mwam_mm.MWAMNeck',
        modalities=_base_.modalities,
        in_channels=channels,
        fusion=dict(type='mwam_mm.GatedFusion'),
        neck=dict(
            type='ChannelMapper',
            in_channels=channels,
            kernel_size=1,
            out_channels=64,
            num_outs=3,
            norm_cfg=dict(type='GN', num_groups=16))),
    encoder=dict(
        num_layers=2,
        layer_cfg=dict(
            self_attn_cfg=dict(
                embed_dims=64, num_heads=4, num_levels=3, batch_first=True),
            ffn_cfg=dict(embed_dims=64, feedforward_channels=128))),
    decoder=dict(
        num_layers=2,
        return_intermediate=True,
        layer_cfg=dict(
            self_attn_cfg=attention,
            cross_attn_cfg=dict(
                embed_dims=64, num_heads=4, num_levels=3, batch_first=True),
            ffn_cfg=dict(embed_dims=64, feedforward_channels=128)),
        post_norm_cfg=None),
    positional_encoding=dict(num_feats=32, normalize=True, offset=-0.5),
    bbox_head=dict(
        type='DeformableDETRHead',
        num_classes=7,
        embed_dims=64,
        sync_cls_avg_factor=True,
        loss_cls=dict(
            type='FocalLoss', use_sigmoid=True, loss_weight=2.0),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='GIoULoss', loss_weight=2.0)),
    train_cfg=dict(
        assigner=dict(
            type='HungarianAssigner',
            match_costs=[
                dict(type='FocalLossCost', weight=2.0),
                dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
                dict(type='IoUCost', iou_mode='giou', weight=2.0),
            ])),
    test_cfg=dict(max_per_img=50))
# Transformers do not train with SGD.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=0.1))
