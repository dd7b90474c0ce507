# The depth branch alone, the first of two stages: see
# two-stream-r18_md_merged_potholes.py.
_base_ = './two-stream-r18_potholes.py'
train_dataloader = dict(
    dataset=dict(pipeline=[
        *_base_.train_pipeline,
        dict(
            type='mwam_mm.RandomDropModality',
            modalities=_base_.modalities,
            weights=dict(depth=1)),
    ]))
val_cfg = dict(combinations=['depth'])
test_cfg = dict(combinations=['depth'])
