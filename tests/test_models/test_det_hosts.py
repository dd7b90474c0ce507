"""The detection jobs in configs/hosts train with MWAM and are evaluated."""
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mwam_mm.evaluation import newest_report

from ..reports import read_report

pytest.importorskip('mmdet')
pytest.importorskip('mmcv.ops')

HOSTS = Path(__file__).resolve().parents[2] / 'configs/hosts'
NAMES = [
    'deformable-detr_r18', 'faster-rcnn_r18', 'fcos_r18', 'gfl_r18',
    'mask-rcnn_r18', 'retinanet_r18', 'rtmdet_cspnext', 'yolox_cspdarknet'
]
SCENES = dict(height=64, width=96, splits=dict(train=4, val=2))


def datasets(cfg):
    """The datasets within wrappers."""
    yield from datasets(cfg.dataset) if 'dataset' in cfg else [cfg]


@pytest.mark.parametrize('name', NAMES)
def test_host_trains(name, scenes, tmp_path):
    cfg = Config.fromfile(HOSTS / f'{name}_mwam_scenes.py')
    cfg.work_dir = str(tmp_path)
    cfg.train_dataloader.batch_size = 2
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        for dataset in datasets(loader.dataset):
            dataset.update(data_root=str(scenes), scene_cfg=SCENES)
    # Enough for mosaics of cached images.
    iters = 4 if name.startswith('rtmdet') else 1
    cfg.train_cfg.update(max_iters=iters, val_interval=iters)
    cfg.param_scheduler = []
    cfg.default_hooks = dict(logger=dict(type='LoggerHook', interval=1))
    cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    cfg.val_evaluator.ann_file = str(scenes / 'annotations/val.json')
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    cfg.log_level = 'WARNING'
    cfg.experiment_name = name
    runner = Runner.from_cfg(cfg)
    runner.train()

    assert runner.iter == iters
    weights = runner.model.neck.mwam.weights.tolist()
    assert all(0.5 <= k <= 1.5 and abs(k - 1) > 1e-3 for k in weights)
    if newest_report(str(tmp_path), 'val'):  # unless nothing is detected
        assert list(read_report(tmp_path, 'val')['combinations']) == [
            'rgb+depth', 'rgb', 'depth']
