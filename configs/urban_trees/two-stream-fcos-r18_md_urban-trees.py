# With modality dropout ("-MD"): each sample keeps a random non-empty subset.
_base_ = './two-stream-fcos-r18_urban-trees.py'
train_dataloader = dict(
    dataset=dict(pipeline=[
        *_base_.train_pipeline,
        dict(
            type='mwam_mm.RandomDropModality', modalities=_base_.modalities),
    ]))
