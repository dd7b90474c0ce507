# UCF-101 as frames and optical flow, in the layout of
# tools/dataset_converters/flow.py; see ClipDataset.
_base_ = './cls.py'
data_root = 'data/ucf101'
dataset_type = 'mwam_mm.ClipDataset'
num_frames = 3
imagenet_rgb = _base_.imagenet_rgb
modalities = dict(
    rgb=dict(
        channels=3 * num_frames,
        mean=imagenet_rgb['mean'] * num_frames,
        std=imagenet_rgb['std'] * num_frames),
    # Of flow only its range is known.
    flow=dict(channels=2 * num_frames, mean=127.5, std=127.5))
load = dict(
    type='mwam_mm.LoadClip', modalities=modalities, num_frames=num_frames)
train_pipeline = [
    dict(load, random=True),
    dict(type='RandomResizedCrop', scale=224),
    dict(type='mwam_mm.FlipClip', prob=0.5),
    dict(type='PackInputs'),
    # Each sample keeps a random non-empty subset of its modalities ("-MD").
    dict(type='mwam_mm.RandomDropModality', modalities=modalities),
]
test_pipeline = [
    load,
    dict(type='ResizeEdge', scale=256, edge='short'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    # BatchNorm has no variance of a last batch of one sample.
    drop_last=True,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ucfTrainTestlist/trainlist01.txt',
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='ucfTrainTestlist/testlist01.txt',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
