# The rows of potholes.py on RGB and depth of the embedded scenes, but for OPM,
# which drops modalities itself and refuses a pipeline that does.
_base_ = ['../_base_/study.py', '../_base_/study_rows_seg.py']
ceilings = 'md'  # of one modality, dropout drops nothing


def on_scenes(name, options):
    """A row of the other studies."""
    if name == 'md':
        return dict(config='../rgbd_seg.py')
    if name == 'md_gradient':
        return dict(config='../rgbd_seg_mwam.py')
    if name.startswith('md'):
        heads = {
            'model.type': 'mwam_mm.with_modality_heads',
            'model.host': 'EncoderDecoder',
            'custom_hooks.0.intervention': ['loss', 'gradient'],
        }
        return dict(
            config='../rgbd_seg_mwam.py', options={
                **heads,
                **options
            })
    # The last transform is the dropout: it keeps all.
    weights = {'train_dataloader.dataset.pipeline.4.weights': {'rgb+depth': 1}}
    return dict(config='../rgbd_seg.py', options={**weights, **options})


variants = dict(
    _delete_=True,
    **{
        name: on_scenes(name, row.get('options', {}))
        for name, row in _base_.variants.items() if name != 'opm'
    })
del on_scenes
