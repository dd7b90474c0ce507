# CASIA-SURF, faces in RGB, depth and infrared, in the layout of its
# publishers; see CASIASURFDataset.
_base_ = './cls.py'
data_root = 'data/casia_surf'
dataset_type = 'mwam_mm.CASIASURFDataset'
modalities = dict(
    rgb=_base_.imagenet_rgb,
    # The files have three equal channels.
    depth=_base_.grey,
    ir=_base_.grey)
image_size = (112, 112)
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='Resize', scale=image_size),
    *_base_.flip_and_pack,
    # Each sample keeps a random non-empty subset of its modalities ("-MD").
    dict(type='mwam_mm.RandomDropModality', modalities=modalities),
]
test_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    dict(type='Resize', scale=image_size),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    # BatchNorm has no variance of a last batch of one sample.
    drop_last=True,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='train_list.txt',
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='val_private_list.txt',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='Accuracy', topk=1),
    dict(type='mwam_mm.AntiSpoofingMetric'),
]
test_evaluator = val_evaluator
