# What acts on the potholes, where one modality is much weaker alone.
_base_ = ['../_base_/study.py', '../_base_/study_rows.py']
metric = 'mIoU'
config = '../potholes/two-stream-r18_potholes.py'
ceilings = 'plain'
variants = {
    'plain': dict(),
    'md': dict(config='../potholes/two-stream-r18_md_potholes.py'),
    'md_gradient': dict(
        config='../potholes/two-stream-r18_md_mwam_potholes.py'),
    # A loss for each modality, by heads of its own. K = 1 and K reversed are
    # the controls.
    'md_loss': dict(
        config='../potholes/two-stream-r18_md_mwam-hybrid_potholes.py',
        options={'custom_hooks.0.intervention': 'loss'}),
    'md_loss-k1': dict(
        config='../potholes/two-stream-r18_md_mwam-hybrid_potholes.py',
        options=dict(custom_hooks=[
            dict(
                type='mwam_mm.BalanceHook',
                weigher=dict(type='mwam_mm.Constant'),
                intervention='loss')
        ])),
    'md_hybrid': dict(
        config='../potholes/two-stream-r18_md_mwam-hybrid_potholes.py'),
    'md_hybrid-reversed': dict(
        config='../potholes/two-stream-r18_md_mwam-hybrid_potholes.py',
        options={'model.neck.mwam.lam': -6.0}),
    'lfm': dict(
        options=dict(custom_hooks=[
            dict(
                type='mwam_mm.BalanceHook',
                weigher=dict(type='mwam_mm.Constant'),
                intervention='lfm')
        ])),
    # Learning rates of the branches: by hand, higher for the one that is worse
    # alone, or by validations. These, and those of MSES, are of the test split
    # here, which is in their favour.
    'mslr-fixed': dict(
        options=dict(custom_hooks=[
            dict(
                type='mwam_mm.BalanceHook',
                weigher=dict(
                    type='mwam_mm.Constant', k=dict(rgb=1.1, depth=0.9)),
                intervention='update')
        ])),
    'mslr': dict(
        options={
            'train_cfg.val_interval':
            40,
            'custom_hooks': [
                dict(
                    type='mwam_mm.BalanceHook',
                    weigher=dict(
                        type='mwam_mm.MSLR',
                        metric='mIoU'),
                    intervention='update')
            ]
        }),
    'mses': dict(
        options={
            'train_cfg.val_interval':
            40,
            'custom_hooks': [
                dict(
                    type='mwam_mm.BalanceHook',
                    weigher=dict(
                        type='mwam_mm.MSES',
                        metric='mIoU',
                        patience=3),
                    intervention='update')
            ]
        }),
}
