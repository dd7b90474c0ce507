# default_runtime.py for classification.
_base_ = './default_runtime.py'
default_scope = 'mmpretrain'
visualizer = dict(type='UniversalVisualizer')
