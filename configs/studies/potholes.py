# What acts on the potholes, where one modality is much weaker alone.
_base_ = ['../_base_/study.py', '../_base_/study_rows_seg.py']
config = '../potholes/two-stream-r18_potholes.py'
ceilings = 'plain'
variants = {
    'md': dict(config='../potholes/two-stream-r18_md_potholes.py'),
    # As much computing on a CPU as combination-k.
    'md-1000-iterations': dict(
        config='../potholes/two-stream-r18_md_potholes.py',
        options={
            'train_cfg.max_iters': 1000,
            'train_cfg.val_interval': 1000,
            'param_scheduler.1.end': 1000,
        }),
    'md_gradient': dict(
        config='../potholes/two-stream-r18_md_mwam_potholes.py'),
    'md_loss': dict(
        config='../potholes/two-stream-r18_md_mwam-hybrid_potholes.py'),
    'md_loss-k1': dict(
        config='../potholes/two-stream-r18_md_mwam-hybrid_potholes.py'),
    'md_hybrid': dict(
        config='../potholes/two-stream-r18_md_mwam-hybrid_potholes.py'),
    'md_hybrid-reversed': dict(
        config='../potholes/two-stream-r18_md_mwam-hybrid_potholes.py'),
    # From branches that were trained alone, with a tenth of the learning rate:
    # docs/results.md has the commands of the first stage.
    'md_merged': dict(
        config='../potholes/two-stream-r18_md_merged_potholes.py',
        options=dict(load_from='work_dirs/merged/seed{seed}/branches.pth')),
    'combination-k_distill_merged': dict(
        config='../potholes/two-stream-r18_mwam-combination_potholes.py',
        options={
            'load_from':
            'work_dirs/merged/seed{seed}/branches.pth',
            'optim_wrapper.paramwise_cfg.custom_keys': {
                'backbone.branches': dict(lr_mult=0.1)
            }
        }),
    # Learning rates of the branches by hand, higher for the one that is worse
    # alone.
    'mslr-fixed': dict(
        options=dict(custom_hooks=[
            dict(
                type='mwam_mm.BalanceHook',
                weigher=dict(
                    type='mwam_mm.Constant', k=dict(rgb=1.1, depth=0.9)),
                intervention='update')
        ])),
}
