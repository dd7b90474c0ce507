# The rows of potholes.py on the floods, where both sensors are needed.
_base_ = ['../_base_/study.py', '../_base_/study_rows_seg.py']
config = '../floods/two-stream-r18_floods.py'
ceilings = 'plain'
variants = {
    'md': dict(config='../floods/two-stream-r18_md_floods.py'),
    # As the recipe has by its tuning.
    'md-branches2': dict(
        config='../floods/two-stream-r18_md_floods.py',
        options={
            'optim_wrapper.paramwise_cfg.custom_keys': {
                'backbone.branches': dict(lr_mult=2)
            }
        }),
    'md_gradient': dict(config='../floods/two-stream-r18_md_mwam_floods.py'),
    'md_loss': dict(
        config='../floods/two-stream-r18_md_mwam-hybrid_floods.py'),
    'md_loss-k1': dict(
        config='../floods/two-stream-r18_md_mwam-hybrid_floods.py'),
    'md_hybrid': dict(
        config='../floods/two-stream-r18_md_mwam-hybrid_floods.py'),
    'md_hybrid-reversed': dict(
        config='../floods/two-stream-r18_md_mwam-hybrid_floods.py'),
    # Learning rates of the branches by hand, higher for the one that is worse
    # alone.
    'mslr-fixed': dict(
        options=dict(custom_hooks=[
            dict(
                type='mwam_mm.BalanceHook',
                weigher=dict(
                    type='mwam_mm.Constant', k=dict(rgb=0.9, sar=1.1)),
                intervention='update')
        ])),
    # The best of three constants, by floods_tuning.py.
    'opm-q0.7': dict(
        options=dict(custom_hooks=[
            dict(
                type='mwam_mm.BalanceHook',
                weigher=dict(type='mwam_mm.OPM', q_base=0.7),
                intervention=[dict(type='dropout', draw='each')])
        ])),
    'mses-patience5': dict(
        options={
            'train_cfg.val_interval':
            40,
            'custom_hooks': [
                dict(
                    type='mwam_mm.BalanceHook',
                    weigher=dict(
                        type='mwam_mm.MSES',
                        metric='mIoU',
                        patience=5),
                    intervention='update')
            ]
        }),
}
