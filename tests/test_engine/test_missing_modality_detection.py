"""The loops over modality combinations with detectors and their metrics."""
import json

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmcv.ops')
from mmengine.runner import Runner, load_checkpoint  # noqa: E402

from mwam_mm.registry import DATASETS  # noqa: E402

from .. import tiny_det  # noqa: E402
from ..reports import read_report  # noqa: E402

COMBINATIONS = dict(
    [('rgb+depth', ()), ('rgb', ('depth', )), ('depth', ('rgb', ))])
EVALUATOR = [
    dict(type='CocoMetric', metric_items=['mAP', 'mAP_50']),
    dict(type='VOCMetric', iou_thrs=0.5),
]
KEYS = ('coco/bbox_mAP', 'coco/bbox_mAP_50', 'pascal_voc/mAP')


@DATASETS.register_module()
class TinyBoxesWithout(tiny_det.TinyBoxes):
    """TinyBoxes without a modality in any sample."""

    def __init__(self, absent, **kwargs):
        super().__init__(**kwargs)
        self.absent = absent

    def __getitem__(self, i):
        sample = super().__getitem__(i)
        sample['data_samples'].set_metainfo(
            dict(absent_modalities=self.absent))
        return sample


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A detector that has learnt something, and its evaluation."""
    work_dir = tmp_path_factory.mktemp('det')
    outfile = str(work_dir / 'results' / 'boxes')
    evaluator = [dict(EVALUATOR[0], outfile_prefix=outfile), EVALUATOR[1]]
    cfg = tiny_det.config(
        work_dir,
        max_iters=60,
        val_evaluator=evaluator,
        val_cfg=dict(
            type='mwam_mm.MissingModalityValLoop', metric=list(KEYS)),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.01)))
    cfg.default_hooks.checkpoint.interval = 60
    runner = Runner.from_cfg(cfg)
    calls = dict(rgb=0, depth=0)
    for name, branch in runner.model.backbone.branches.items():

        def count(module, inputs, name=name):
            calls[name] += 0 if module.training else len(inputs[0])

        branch.register_forward_pre_hook(count)
    runner.train()
    return work_dir, read_report(work_dir, 'val'), calls


def test_branches_run_once_per_image(trained):
    _, report, calls = trained
    assert calls == dict(rgb=8, depth=8)
    assert list(report['combinations']) == list(COMBINATIONS)


def test_table_has_every_metric_with_its_pcr(trained):
    _, report, _ = trained
    full = report['combinations']['rgb+depth']['metrics']
    assert full['coco/bbox_mAP_50'] > 0.2
    for name in ('rgb', 'depth'):
        entry = report['combinations'][name]
        for key in KEYS:
            assert entry['PCR'][key] == pytest.approx(
                100 * (full[key] - entry['metrics'][key]) / full[key])


def test_files_of_each_combination(trained):
    work_dir, _, _ = trained
    for name in COMBINATIONS:
        with open(work_dir / 'results' / name / 'boxes.bbox.json') as f:
            assert json.load(f)


@pytest.mark.parametrize('name', COMBINATIONS)
def test_equals_a_stock_test_without_the_modality(trained, name, tmp_path):
    work_dir, report, _ = trained
    cfg = tiny_det.config(
        tmp_path, test_cfg=dict(type='TestLoop'), test_evaluator=EVALUATOR)
    cfg.test_dataloader.dataset = dict(
        type='mwam_mm.TinyBoxesWithout', absent=COMBINATIONS[name])
    cfg.train_dataloader = cfg.train_cfg = cfg.optim_wrapper = None
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    runner = Runner.from_cfg(cfg)
    load_checkpoint(runner.model, str(work_dir / 'iter_60.pth'))
    stock = runner.test()
    for key in KEYS:
        assert report['combinations'][name]['metrics'][key] == pytest.approx(
            stock[key], abs=1e-3)


def test_a_detector_that_finds_nothing_at_all(tmp_path):
    """The table has 0 for it, and the best checkpoint is kept."""
    cfg = tiny_det.config(tmp_path, max_iters=1)
    cfg.model.test_cfg.score_thr = 1.1
    cfg.default_hooks.checkpoint.update(
        save_best='avg/coco/bbox_mAP', rule='greater')
    runner = Runner.from_cfg(cfg)
    runner.train()
    report = read_report(tmp_path, 'val')
    for name in COMBINATIONS:
        entry = report['combinations'][name]
        assert entry['metrics'] == {
            'coco/bbox_mAP': 0, 'coco/bbox_mAP_50': 0}
        assert entry['constant'] == 'nothing'
        assert entry['per_class']['coco/bbox_mAP'] == dict(near=0, far=0)
    assert report['avg']['metrics']['coco/bbox_mAP'] == 0
    assert report['avg']['PCR']['coco/bbox_mAP'] is None
    assert list(tmp_path.glob('best_avg_coco_bbox_mAP_iter_1.pth'))
