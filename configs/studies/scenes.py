# RGB and depth of the embedded scenes.
_base_ = '../_base_/study.py'
metric = 'mIoU'
ceilings = 'md'  # of one modality, dropout drops nothing
variants = {
    'plain': dict(
        config='../rgbd_seg.py',
        options={
            # The last transform is the dropout: it keeps all.
            'train_dataloader.dataset.pipeline.4.weights': {'rgb+depth': 1}
        }),
    'md': dict(config='../rgbd_seg.py'),
    'combination-k': dict(
        config='../rgbd_seg.py',
        options={
            'train_dataloader.dataset.pipeline.4.weights': {
                'rgb+depth': 1
            },
            'model.neck.mwam': {},
            'custom_hooks': [
                dict(
                    type='mwam_mm.MWAMHook',
                    intervention=dict(type='combination', weights='k'))
            ]
        }),
    'combination-k_distill': dict(
        config='../rgbd_seg.py',
        options={
            'train_dataloader.dataset.pipeline.4.weights': {
                'rgb+depth': 1
            },
            'model.neck.mwam': {},
            'custom_hooks': [
                dict(
                    type='mwam_mm.MWAMHook',
                    intervention=[
                        dict(type='combination', weights='k'),
                        dict(type='distill', weights='k')
                    ])
            ]
        }),
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
