# Potholes with label maps; see PotholeDataset.
_base_ = ['./seg.py', './pothole_pairs.py']
dataset_type = 'mwam_mm.PotholeDataset'
palette = [[0, 0, 0], [153, 0, 0]]
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=_base_.modalities),
    dict(type='mwam_mm.LoadPaletteAnnotations', palette=palette),
    dict(type='Resize', scale=_base_.image_size),
    *_base_.flip_and_pack,
]
test_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=_base_.modalities),
    dict(type='Resize', scale=_base_.image_size),
    # After Resize: the labels are compared at the images' own size.
    dict(type='mwam_mm.LoadPaletteAnnotations', palette=palette),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    num_workers=2,
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
