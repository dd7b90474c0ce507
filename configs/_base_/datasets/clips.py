# The embedded clips with optical flow, rendered by the first use: three frames
# and the flow at each, as one stack.
_base_ = './cls.py'
data_root = 'data/clips'
dataset_type = 'mwam_mm.SceneClipDataset'
num_frames = 3
modalities = dict(
    # Statistics of the training split.
    rgb=dict(
        channels=3 * num_frames,
        mean=[120.0, 117.0, 111.2] * num_frames,
        std=[40.1, 41.1, 40.6] * num_frames),
    flow=dict(channels=2 * num_frames, mean=127.5, std=27.2))
load = dict(
    type='mwam_mm.LoadClip', modalities=modalities, num_frames=num_frames)
# No flip: in the mirror, what moves to the right moves to the left, which is
# another class.
train_pipeline = [
    dict(load, random=True),
    dict(type='PackInputs'),
    # Each sample keeps a random non-empty subset of its modalities ("-MD").
    dict(type='mwam_mm.RandomDropModality', modalities=modalities),
]
test_pipeline = [load, dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=32,
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
        split='val',
        pipeline=test_pipeline))
test_dataloader = val_dataloader
