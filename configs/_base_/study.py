# What the studies share; tools/analysis_tools/compare_seeds.py --study FILE
# trains and compares.
seeds = [0, 1, 2, 3, 4, 5]
baseline = 'md'
# A study keeps the reports, not the weights. The images are in memory, so that
# worker processes would only cost.
options = {
    'default_hooks.checkpoint': None,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
}
