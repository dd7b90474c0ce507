# What acts on the potholes: dropout, gradients and losses, with K, without it
# and with K reversed.
_base_ = '../_base_/study.py'
metric = 'mIoU'
ceilings = 'plain'
variants = {
    'plain': dict(config='../potholes/two-stream-r18_potholes.py'),
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
    'md_loss-reversed': dict(
        config='../potholes/two-stream-r18_md_mwam-hybrid-reversed_potholes.py',
        options={'custom_hooks.0.intervention': 'loss'}),
    # Gradients and losses.
    'md_hybrid': dict(
        config='../potholes/two-stream-r18_md_mwam-hybrid_potholes.py'),
    'md_hybrid-reversed': dict(
        config='../potholes/two-stream-r18_md_mwam-hybrid-reversed_potholes.py'
    ),
    # The model's own losses of each modality alone, without dropout.
    'combination': dict(
        config='../potholes/two-stream-r18_mwam_potholes.py',
        options={'custom_hooks.0.intervention': dict(type='combination')}),
    'combination-k': dict(
        config='../potholes/two-stream-r18_mwam_potholes.py',
        options={
            'custom_hooks.0.intervention':
            dict(type='combination', weights='k')
        }),
    'combination-k-reversed': dict(
        config='../potholes/two-stream-r18_mwam_potholes.py',
        options={
            'custom_hooks.0.intervention':
            dict(type='combination', weights='k'),
            'model.neck.mwam': dict(lam=-6.0)
        }),
    'combination-k_gradient': dict(
        config='../potholes/two-stream-r18_mwam_potholes.py',
        options={
            'custom_hooks.0.intervention':
            [dict(type='combination', weights='k'), 'gradient']
        }),
    'combination-paired': dict(
        config='../potholes/two-stream-r18_mwam_potholes.py',
        options={
            'custom_hooks.0.intervention':
            dict(type='combination', subsets='paired')
        }),
}
