# Optical and radar images of floods in their publishers' layout; see
# OmbriaDataset.
_base_ = './seg.py'
data_root = 'data/floods'
dataset_type = 'mwam_mm.OmbriaDataset'
# Statistics of the training split, reduced to image_size.
modalities = dict(
    rgb=dict(
        channels=3,
        mean=[42.7, 59.8, 39.8],
        std=[32.9, 33.1, 32.3],
        bgr_to_rgb=True),
    sar=dict(channels=1, mean=151.9, std=49.6))
image_size = (128, 128)  # width, height
palette = [[0, 0, 0], [255, 255, 255]]
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='mwam_mm.LoadPaletteAnnotations', palette=palette),
    dict(type='Resize', scale=image_size),
    *_base_.flip_and_pack,
]
test_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='Resize', scale=image_size),
    # After Resize: the labels are compared at the images' own size.
    dict(type='mwam_mm.LoadPaletteAnnotations', palette=palette),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    num_workers=2,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='train',
        pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=2,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='test',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
