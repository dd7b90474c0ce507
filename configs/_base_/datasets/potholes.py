# Real RGB-D pairs in their publishers' layout; see PotholeDataset.
data_root = 'data/potholes'
dataset_type = 'mwam_mm.PotholeDataset'
# Statistics of the training split, 0 of the disparity left out.
modalities = dict(
    rgb=dict(
        channels=3,
        mean=[140.7, 139.9, 140.2],
        std=[30.1, 29.0, 27.7],
        bgr_to_rgb=True),
    depth=dict(
        channels=1,
        mean=0.849,
        std=0.084,
        scale=1 / 65535,
        invalid_value=0))
image_size = (256, 152)  # width, height
palette = [[0, 0, 0], [153, 0, 0]]
# No photometric distortion: it clips colours to flat patches, and those are
# what the published FRM counts.
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='mwam_mm.LoadPaletteAnnotations', palette=palette),
    dict(type='Resize', scale=image_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='Resize', scale=image_size),
    # After Resize: the labels are compared at the images' own size.
    dict(type='mwam_mm.LoadPaletteAnnotations', palette=palette),
    dict(type='PackSegInputs'),
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
        split='test',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
