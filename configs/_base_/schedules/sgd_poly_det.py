# sgd_poly.py for detection.
_base_ = './sgd_poly.py'
optim_wrapper = dict(optimizer=dict(lr=0.02), clip_grad=dict(max_norm=10.))
metric = ['coco/bbox_mAP', 'coco/bbox_mAP_50']
val_cfg = dict(metric=metric)
test_cfg = dict(metric=metric)
default_hooks = dict(
    checkpoint=dict(save_best='avg/coco/bbox_mAP'),
    visualization=dict(type='DetVisualizationHook'))
