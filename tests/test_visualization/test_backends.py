"""MLflow and W&B get every metric."""
import re
import sys
from types import ModuleType

import numpy as np
import pytest
from mmengine.logging import MMLogger
from mmengine.visualization import Visualizer

from mwam_mm.visualization import give_portable_names, portable_name


@pytest.mark.parametrize('name, expected', [
    ('rgb+depth+thermal/mIoU', 'rgb_and_depth_and_thermal/mIoU'),
    ('emm_0.1/coco/AR@100', 'emm_0.1/coco/AR_at_100'),
    ('avg/PCR', 'avg/PCR'),
    ('wärme/top1 (%)', 'w_rme/top1___percent_'),
])
def test_names(name, expected):
    assert portable_name(name) == expected


class FakeMLflow(ModuleType):
    """Keeps metrics by the rules of MLflow, all of a step or none."""

    class MlflowException(Exception):
        pass

    def __init__(self):
        super().__init__('mlflow')
        self.logged = {}

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return lambda *args, **kwargs: None

    def log_metrics(self, metrics, step):
        for name, value in metrics.items():
            if not re.match(r'^[/\w.\- ]*$', name):
                raise self.MlflowException(f'Invalid metric name: {name}')
            float(value)
        self.logged.update(metrics)

    def log_metric(self, name, value, step):
        self.log_metrics({name: value}, step)


class FakeWandb(ModuleType):

    def __init__(self):
        super().__init__('wandb')
        self.logged = {}
        self.run = None

    def init(self, **kwargs):
        return self

    def log(self, values, commit):
        self.logged.update(values)


METRICS = {
    'rgb+depth/mIoU': 75.5,
    'rgb/mIoU': np.float32(50),
    'depth/PCR': None,
    'rgb/PCR': float('nan'),
    'loss': 0.25,
}
EXPECTED = {'rgb_and_depth/mIoU': 75.5, 'rgb/mIoU': 50, 'loss': 0.25}


@pytest.mark.parametrize('kind, module', [
    ('MLflowVisBackend', FakeMLflow),
    ('WandbVisBackend', FakeWandb),
])
def test_every_metric_arrives(kind, module, monkeypatch, tmp_path):
    fake = module()
    # MMEngine opens those anew whose stream pytest has closed.
    monkeypatch.setattr(MMLogger.get_current_instance(), 'handlers', [])
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    visualizer = Visualizer(
        vis_backends=[dict(type=kind), dict(type='LocalVisBackend')],
        save_dir=str(tmp_path))
    for _ in range(2):  # once is enough
        give_portable_names(visualizer)
    visualizer.add_scalars(METRICS, step=3)
    visualizer.add_scalar('a+b', 1., step=3)
    assert fake.logged == dict(EXPECTED, a_and_b=1.)
    # The other backends keep the names.
    scalars = next(tmp_path.rglob('scalars.json')).read_text()
    assert '"rgb+depth/mIoU": 75.5' in scalars
