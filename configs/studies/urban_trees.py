# The rows of potholes.py for detection, on the urban trees.
_base_ = ['../_base_/study.py', '../_base_/study_rows.py']
metric = 'coco/bbox_mAP_50'
config = '../urban_trees/two-stream-fcos-r18_urban-trees.py'
ceilings = 'plain'
variants = {
    'md': dict(config='../urban_trees/two-stream-fcos-r18_md_urban-trees.py'),
    'md_gradient': dict(
        config='../urban_trees/two-stream-fcos-r18_md_mwam_urban-trees.py'),
    'md_loss': dict(
        config='../urban_trees/two-stream-fcos-r18_md_mwam-hybrid_urban-trees.py'),
    'md_loss-k1': dict(
        config='../urban_trees/two-stream-fcos-r18_md_mwam-hybrid_urban-trees.py'),
    'md_hybrid': dict(
        config='../urban_trees/two-stream-fcos-r18_md_mwam-hybrid_urban-trees.py'),
    'md_hybrid-reversed': dict(
        config='../urban_trees/two-stream-fcos-r18_md_mwam-hybrid_urban-trees.py'),
    # Learning rates of the branches by hand, higher for the one that is worse
    # alone.
    'mslr-fixed': dict(
        options=dict(custom_hooks=[
            dict(
                type='mwam_mm.BalanceHook',
                weigher=dict(
                    type='mwam_mm.Constant', k=dict(rgb=0.9, nir=1.1)),
                intervention='update')
        ])),
    # By validations. These, and those of MSES, are of the test split here,
    # which is in their favour.
    'mslr': dict(
        options={
            'train_cfg.val_interval':
            40,
            'custom_hooks': [
                dict(
                    type='mwam_mm.BalanceHook',
                    weigher=dict(
                        type='mwam_mm.MSLR',
                        metric='coco/bbox_mAP_50'),
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
                        metric='coco/bbox_mAP_50',
                        patience=3),
                    intervention='update')
            ]
        }),
    # Of detectors, boxes as well.
    'combination-k_distill-boxes': dict(
        options={
            'model.neck.mwam': {},
            'custom_hooks': [
                dict(
                    type='mwam_mm.MWAMHook',
                    intervention=[
                        dict(type='combination', weights='k'),
                        dict(type='distill', weights='k', box_weight=1.0)
                    ])
            ]
        }),
}
