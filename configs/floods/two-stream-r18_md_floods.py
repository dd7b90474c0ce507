# With modality dropout ("-MD"): each sample keeps a random non-empty subset.
_base_ = './two-stream-r18_floods.py'
train_dataloader = dict(
    dataset=dict(pipeline=[
        *_base_.train_pipeline,
        dict(
            type='mwam_mm.RandomDropModality', modalities=_base_.modalities),
    ]))
