# DroneVehicle, 5 classes, in the layout of its publishers.
_base_ = './det.py'
data_root = 'data/drone_vehicle'
dataset_type = 'mwam_mm.DroneVehicleDataset'
modalities = dict(rgb=_base_.imagenet_rgb, infrared=_base_.grey)
image_size = (640, 512)  # width, height; the ratio of the images is kept
train_pipeline = [
    # The images have a white border of 100 pixels.
    dict(type='mwam_mm.LoadModalities', modalities=modalities, border=100),
    _base_.load_boxes,
    dict(type='Resize', scale=image_size, keep_ratio=True),
    *_base_.flip_and_pack,
    # Each sample keeps a random non-empty subset of its modalities ("-MD").
    dict(type='mwam_mm.RandomDropModality', modalities=modalities),
]
test_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities, border=100),
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
        split='val',
        pipeline=test_pipeline))
test_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='test',
        pipeline=test_pipeline))
