# VEDAI, 9 classes, in the layout of its publishers: fold 1 at 1024 pixels.
_base_ = './det.py'
data_root = 'data/vedai'
dataset_type = 'mwam_mm.VEDAIDataset'
modalities = dict(rgb=_base_.imagenet_rgb, nir=_base_.grey)
image_size = (1024, 1024)  # width, height; the ratio of the images is kept
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    _base_.load_boxes,
    dict(type='Resize', scale=image_size, keep_ratio=True),
    *_base_.flip_and_pack,
    # Each sample keeps a random non-empty subset of its modalities ("-MD").
    dict(type='mwam_mm.RandomDropModality', modalities=modalities),
]
test_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    *_base_.load_boxes_and_pack,
]
train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='train',
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='test',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
