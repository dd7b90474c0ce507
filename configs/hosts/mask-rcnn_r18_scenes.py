# Faster R-CNN with a mask head; boxes and masks are evaluated.
_base_ = './faster-rcnn_r18_scenes.py'
model = dict(
    type='MaskRCNN',
    roi_head=dict(
        mask_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0),
            out_channels=64,
            finest_scale=32,
            featmap_strides=[8, 16, 32]),
        mask_head=dict(
            type='FCNMaskHead',
            num_convs=2,
            in_channels=64,
            conv_out_channels=64,
            num_classes=7,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True))),
    train_cfg=dict(rcnn=dict(mask_size=28)),
    test_cfg=dict(rcnn=dict(mask_thr_binary=0.5)))
load, _, *transforms = _base_.train_pipeline
train_pipeline = [
    load,
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    *transforms,
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
