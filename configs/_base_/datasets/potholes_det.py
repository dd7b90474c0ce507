# A box around each pothole; see PotholeDetDataset.
_base_ = ['./det.py', './pothole_pairs.py']
dataset_type = 'mwam_mm.PotholeDetDataset'
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=_base_.modalities),
    _base_.load_boxes,
    dict(type='Resize', scale=_base_.image_size),
    *_base_.flip_and_pack,
    # Each sample keeps a random non-empty subset of its modalities ("-MD").
    dict(type='mwam_mm.RandomDropModality', modalities=_base_.modalities),
]
test_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=_base_.modalities),
    dict(type='Resize', scale=_base_.image_size),
    *_base_.load_boxes_and_pack,
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=_base_.data_root,
        split='train',
        pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=2,
    dataset=dict(
        type=dataset_type,
        data_root=_base_.data_root,
        split='test',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
