# The images of both sensors after and before the flood, with modality dropout
# ("-MD"): each sample keeps a random non-empty subset of the four.
_base_ = './two-stream-r18_floods.py'
after = _base_.modalities
modalities = dict(
    rgb=after.rgb,
    sar=after.sar,
    # The sensors are the same, and so are the statistics.
    rgb_before=after.rgb,
    sar_before=after.sar)
load = dict(type='mwam_mm.LoadModalities', modalities=modalities)
model = dict(
    data_preprocessor=dict(modalities=modalities),
    backbone=dict(modalities=modalities),
    neck=dict(modalities=modalities))
train_dataloader = dict(
    dataset=dict(pipeline=[
        load,
        *_base_.train_pipeline[1:],
        dict(type='mwam_mm.RandomDropModality', modalities=modalities),
    ]))
val_dataloader = dict(
    dataset=dict(pipeline=[load, *_base_.test_pipeline[1:]]))
test_dataloader = val_dataloader
