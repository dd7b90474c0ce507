# RGB and depth of the embedded scenes.
_base_ = '../_base_/study.py'
metric = 'mIoU'
ceilings = 'md'  # of one modality, dropout drops nothing


def without_dropout(intervention=None):
    """Train all modalities together, and with an intervention by MWAM."""
    # The last transform is the dropout: it keeps all.
    options = {
        'train_dataloader.dataset.pipeline.4.weights': {
            'rgb+depth': 1
        }
    }
    if intervention is not None:
        options['model.neck.mwam'] = {}
        options['custom_hooks'] = [
            dict(type='mwam_mm.MWAMHook', intervention=intervention)
        ]
    return dict(config='../rgbd_seg.py', options=options)


by_k = dict(type='combination', weights='k')
variants = {
    'plain': without_dropout(),
    'md': dict(config='../rgbd_seg.py'),
    'combination-k': without_dropout(by_k),
    'combination-k_distill': without_dropout(
        [by_k, dict(type='distill', weights='k')]),
    'md_gradient': dict(config='../rgbd_seg_mwam.py'),
    'md_loss': dict(
        config='../rgbd_seg_mwam.py',
        options={
            'model.type': 'mwam_mm.with_modality_heads',
            'model.host': 'EncoderDecoder',
            'custom_hooks.0.intervention': 'loss'
        }),
    'md_hybrid': dict(
        config='../rgbd_seg_mwam.py',
        options={
            'model.type': 'mwam_mm.with_modality_heads',
            'model.host': 'EncoderDecoder',
            'custom_hooks.0.intervention': ['loss', 'gradient']
        }),
}
del by_k, without_dropout
