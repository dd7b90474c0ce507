# The rows of potholes.py on the floods, where both sensors are needed.
_base_ = '../_base_/study.py'
metric = 'mIoU'
ceilings = 'plain'
variants = {
    'plain': dict(config='../floods/two-stream-r18_floods.py'),
    'md': dict(config='../floods/two-stream-r18_md_floods.py'),
    'md_gradient': dict(
        config='../floods/two-stream-r18_md_mwam_floods.py'),
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
}
