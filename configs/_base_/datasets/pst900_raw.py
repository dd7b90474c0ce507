# PST900 with the raw 16-bit thermal images in place of the 8-bit ones.
_base_ = './pst900.py'
# thermal: only the range of the files. Train with the statistics that
# tools/analysis_tools/check_dataset.py prints for your copy.
modalities = dict(
    rgb=_base_.modalities.rgb,
    thermal=dict(
        channels=1,
        mean=0.5,
        std=0.5,
        scale=1 / 65535,
        invalid_value=0,
        path_key='thermal_raw_path'))
train_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    *_base_.train_pipeline[1:-1],
    dict(type='mwam_mm.RandomDropModality', modalities=modalities),
]
test_pipeline = [
    dict(type='mwam_mm.LoadModalities', modalities=modalities),
    *_base_.test_pipeline[1:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
