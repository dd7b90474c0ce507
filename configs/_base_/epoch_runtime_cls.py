# For schedules that count epochs.
_base_ = './default_runtime_cls.py'
log_processor = dict(by_epoch=True)
