# The rows of potholes.py on RGB and depth of the embedded scenes, but for OPM,
# which drops modalities itself and refuses a pipeline that does.
_base_ = ['../_base_/study.py', '../_base_/study_rows_seg.py']
ceilings = 'md'  # of one modality, dropout drops nothing


def without_dropout(row):
    """A row that trains all modalities together."""
    # The last transform is the dropout: it keeps all.
    weights = {'train_dataloader.dataset.pipeline.4.weights': {'rgb+depth': 1}}
    return dict(
        config='../rgbd_seg.py', options={
            **weights,
            **row.get('options', {})
        })


def with_heads(row):
    """A row with dropout and a head for each modality."""
    return dict(
        config='../rgbd_seg_mwam.py',
        options={
            'model.type': 'mwam_mm.with_modality_heads',
            'model.host': 'EncoderDecoder',
            'custom_hooks.0.intervention': ['loss', 'gradient'],
            **row.get('options', {})
        })


variants = {
    '_delete_':
    True,
    **{
        name: without_dropout(row)
        for name, row in _base_.variants.items()
        if name != 'opm' and not name.startswith('md')
    },
    **{
        name: with_heads(row)
        for name, row in _base_.variants.items()
        if name.startswith(('md_loss', 'md_hybrid'))
    },
    'md': dict(config='../rgbd_seg.py'),
    'md_gradient': dict(config='../rgbd_seg_mwam.py'),
}
del with_heads, without_dropout
