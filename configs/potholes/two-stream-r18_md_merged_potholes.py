# From branches that were trained alone, the second of two stages: fused, with
# modality dropout, and a tenth of the learning rate in the branches. Before:
#   python tools/train.py \
#       configs/potholes/two-stream-r18_rgb-alone_potholes.py
#   python tools/train.py \
#       configs/potholes/two-stream-r18_depth-alone_potholes.py
#   python tools/model_converters/merge_branches.py \
#       configs/potholes/two-stream-r18_md_merged_potholes.py \
#       rgb=work_dirs/two-stream-r18_rgb-alone_potholes/iter_440.pth \
#       depth=work_dirs/two-stream-r18_depth-alone_potholes/iter_440.pth \
#       -o work_dirs/two-stream-r18_md_merged_potholes/branches.pth
_base_ = './two-stream-r18_md_potholes.py'
load_from = 'work_dirs/two-stream-r18_md_merged_potholes/branches.pth'
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={'backbone.branches': dict(lr_mult=0.1)}))
