# The rows of potholes.py on the floods, where both sensors are needed.
_base_ = ['../_base_/study.py', '../_base_/study_rows.py']
metric = 'mIoU'
config = '../floods/two-stream-r18_floods.py'
ceilings = 'plain'
variants = {
    'plain': dict(),
    'md': dict(config='../floods/two-stream-r18_md_floods.py'),
    'md_gradient': dict(
        config='../floods/two-stream-r18_md_mwam_floods.py'),
    # A loss for each modality, by heads of its own. K = 1 and K reversed are
    # the controls.
    'md_loss': dict(
        config='../floods/two-stream-r18_md_mwam-hybrid_floods.py',
        options={'custom_hooks.0.intervention': 'loss'}),
    'md_loss-k1': dict(
        config='../floods/two-stream-r18_md_mwam-hybrid_floods.py',
        options=dict(custom_hooks=[
            dict(
                type='mwam_mm.BalanceHook',
                weigher=dict(type='mwam_mm.Constant'),
                intervention='loss')
        ])),
    'md_hybrid': dict(
        config='../floods/two-stream-r18_md_mwam-hybrid_floods.py'),
    'md_hybrid-reversed': dict(
        config='../floods/two-stream-r18_md_mwam-hybrid_floods.py',
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
                    type='mwam_mm.Constant', k=dict(rgb=0.9, sar=1.1)),
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
