# Rows of the studies of segmentation.
_base_ = './study_rows.py'
metric = 'mIoU'
variants = {
    'lfm': dict(
        options=dict(custom_hooks=[
            dict(
                type='mwam_mm.BalanceHook',
                weigher=dict(type='mwam_mm.Constant'),
                intervention='lfm')
        ])),
    # Learning rates of the branches by validations. These, and those of MSES,
    # are of the test split here, which is in their favour.
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
