# default_runtime.py for detection.
_base_ = './default_runtime.py'
default_scope = 'mmdet'
visualizer = dict(type='mwam_mm.MultiModalDetVisualizer')
