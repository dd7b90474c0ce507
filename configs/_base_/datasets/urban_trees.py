# Real RGB and near-infrared tiles in their publishers' layout; see
# UrbanTreesDataset.
data_root = 'data/urban_trees'
dataset_type = 'mwam_mm.UrbanTreesDataset'
# Statistics of the training split.
modalities = dict(
    rgb=dict(
        channels=3,
        mean=[115.3, 116.1, 107.3],
        std=[43.5, 38.1, 38.0],
        bgr_to_rgb=True,
        file_channels=[0, 1, 2]),
    nir=dict(
        channels=1,
        mean=122.1,
        std=38.7,
        path_key='img_path',
        file_channels=[3]))
image_size = (256, 256)  # width, height
# No photometric distortion: it clips colours to flat patches, and those are
# what the published FRM counts.
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(
        type='RandomFlip',
        prob=[0.25, 0.25, 0.25],
        direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    # The metric takes the boxes from the samples' "instances".
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                   'scale_factor', 'instances')),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='train',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='test',
        test_mode=True,
        pipeline=test_pipeline))
val_evaluator = dict(
    type='CocoMetric', metric='bbox', metric_items=['mAP', 'mAP_50'])
test_evaluator = val_evaluator
