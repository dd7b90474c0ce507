# The embedded scene set, rendered by the first use. Inherited by one file
# per choice of modalities, which adds the pipelines.
data_root = 'data/scenes'
dataset_type = 'mwam_mm.SceneDataset'
# Statistics of the training split; depth in metres, holes left out.
scene_modalities = dict(
    rgb=dict(
        channels=3,
        mean=[122.7, 118.5, 116.2],
        std=[47.1, 46.0, 46.5],
        bgr_to_rgb=True),
    depth=dict(
        channels=1, mean=3.78, std=1.23, scale=0.001, invalid_value=0),
    thermal=dict(channels=1, mean=86.2, std=19.9))
# No photometric distortion: it clips colours to flat patches, and those are
# what the published FRM counts.
train_transforms = [
    dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_transforms = [
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type=dataset_type, data_root=data_root, split='train'))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, split='val'))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
