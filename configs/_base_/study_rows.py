# Rows that the studies of any task share. They start from the study's config,
# which is the plain model: no dropout in the pipeline, no heads of their own.
# Those called md_* need the study to name their own config.


def mwam(*interventions, **arguments):
    """MWAM; the arguments are those of its module."""
    return dict(
        options={
            'model.neck.mwam':
            arguments,
            'custom_hooks': [
                dict(
                    type='mwam_mm.MWAMHook', intervention=list(interventions))
            ]
        })


def other(weigher, *interventions):
    """Another weigher, or none: K = 1."""
    return dict(
        options={
            'custom_hooks': [
                dict(
                    type='mwam_mm.BalanceHook',
                    weigher=dict(type=f'mwam_mm.{weigher}'),
                    intervention=list(interventions))
            ]
        })


by_k = dict(type='combination', weights='k')
distill_by_k = dict(type='distill', weights='k')
paired = dict(type='combination', subsets='paired')
variants = {
    'plain': dict(),
    'md': dict(),
    'md_gradient': dict(),
    # A loss for each modality, by heads of its own. K = 1 and K reversed are
    # the controls.
    'md_loss': dict(options={'custom_hooks.0.intervention': 'loss'}),
    'md_loss-k1': dict(
        options=dict(custom_hooks=[
            dict(
                type='mwam_mm.BalanceHook',
                weigher=dict(type='mwam_mm.Constant'),
                intervention='loss')
        ])),
    'md_hybrid': dict(),
    'md_hybrid-reversed': dict(options={'model.neck.mwam.lam': -6.0}),
    # The model's own losses of each modality alone, without dropout: with
    # K = 1, K and K reversed. With alpha = 1.5 and beta = 1, a negative lambda
    # turns K into 2 - K.
    'combination': other('Constant', 'combination'),
    'combination-k': mwam(by_k),
    'combination-k-reversed': mwam(by_k, lam=-6.0),
    'combination-k_gradient': mwam(by_k, 'gradient'),
    # One modality drawn for each sample, evenly and by K.
    'paired': other('Constant', paired),
    'paired-k': mwam(dict(paired, weights='k')),
    # The prediction of a subset pulled to the complete one as well.
    'combination_distill': other('Constant', 'combination', 'distill'),
    'combination-k_distill': mwam(by_k, distill_by_k),
    'combination-k_distill-reversed': mwam(by_k, distill_by_k, lam=-6.0),
    # The paper's constants for small batches, by which the K of two modalities
    # sum to 2; with gamma = 0.7 they sum to 1.3 where FRM is even.
    'combination-k_distill-gamma1': mwam(
        by_k, distill_by_k, lam=4.0, gamma=1.0),
    'paired_distill': other('Constant', paired, 'distill'),
    # The branches learn from losses of their own only, or half from the fused.
    'combination-k_detach': mwam(by_k, 'detach'),
    'combination-k_detach-half': mwam(by_k, dict(type='detach', share=0.5)),
    # Comparators with their published constants, from the first iteration to
    # the last.
    'ogm': other('OGM', 'gradient'),
    'ogm-ge': other('OGM', 'gradient', 'noise'),
    'agm': other('AGM', 'gradient'),
    'opm': other('OPM', dict(type='dropout', draw='each')),
    'mmpareto': other('Constant', 'mmpareto'),
    'mmpareto-k': mwam('mmpareto'),
    'mmpareto-k_distill': mwam('mmpareto', distill_by_k),
}
# Branches that learn twice as fast: the best of three factors, by
# configs/studies/floods_tuning.py.
variants['combination-k_distill-branches2'] = dict(
    options={
        **variants['combination-k_distill']['options'],
        'optim_wrapper.paramwise_cfg.custom_keys': {
            'backbone.branches': dict(lr_mult=2)
        }
    })
del mwam, other, by_k, distill_by_k, paired
