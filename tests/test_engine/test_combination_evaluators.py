"""The evaluators of the combinations, sample by sample."""
import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.evaluator import BaseMetric, DumpResults, Evaluator
from mmengine.structures import BaseDataElement, PixelData
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample

from mwam_mm.engine.combination_evaluators import CombinationEvaluators

from .. import tiny

COMBINATIONS = [('rgb', 'depth'), ('rgb', ), ('depth', )]


def test_combinations_share_the_annotations_of_a_json(tmp_path):
    """A copy of a large one for each combination would fill the memory."""
    pytest.importorskip('mmcv.ops')
    evaluation = pytest.importorskip('mmdet.evaluation')
    path = tmp_path / 'all.json'
    path.write_text(
        json.dumps(
            dict(
                images=[dict(id=0, height=9, width=9)],
                annotations=[],
                categories=[dict(id=0, name='car')])))
    metric = evaluation.CocoMetric(ann_file=str(path))
    evaluators = CombinationEvaluators(
        Evaluator(metric), SimpleNamespace(), COMBINATIONS, COMBINATIONS[0])
    # The second sample has no depth.
    evaluators.expect({0: ('rgb', 'depth'), 1: ('rgb', )})
    copies = [
        e.metrics[0] for e in (*evaluators.evaluators.values(),
                               *evaluators._on_same.values())
    ]
    assert len(set(map(id, copies))) == 4
    assert {id(copy._coco_api) for copy in copies} == {id(metric._coco_api)}


def test_datasets_that_are_told_apart_by_the_places_of_their_samples():
    """Without the first sample, all places would be off by one."""
    pytest.importorskip('mmcv.ops')
    evaluation = pytest.importorskip('mmdet.evaluation')
    metrics = [evaluation.VOCMetric(), evaluation.VOCMetric()]
    evaluators = CombinationEvaluators(
        evaluation.MultiDatasetsEvaluator(metrics, ['day', 'night']),
        SimpleNamespace(), COMBINATIONS, COMBINATIONS[0])
    evaluators.expect({0: ('rgb', 'depth'), 1: ('rgb', 'depth')})
    with pytest.raises(TypeError, match='nothing of "depth".*MultiDatasets'):
        evaluators.expect({0: ('rgb', ), 1: ('rgb', 'depth')})


class WritesCount(BaseMetric):
    """Writes how many samples it has seen, as CocoMetric its boxes."""

    def __init__(self, outfile_prefix=None):
        super().__init__()
        self.outfile_prefix = outfile_prefix

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        if self.outfile_prefix is not None:
            Path(self.outfile_prefix).write_text(str(len(results)))
        return {}


class DumpsHere(DumpResults):
    """Knows by itself where it writes."""

    def __init__(self):
        super().__init__('here.pkl')


class DumpsScores(BaseMetric):
    """Knows where it writes unless it is told, and writes in any case."""

    def __init__(self, out_file_path='scores.pkl'):
        super().__init__()
        self.out_file_path = out_file_path

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        Path(self.out_file_path).write_bytes(pickle.dumps(results))
        return dict(dumped=len(results))


class WritesMaps(IoUMetric):
    """Its base needs no folder."""
    default_prefix = 'written'

    def __init__(self, output_dir='written'):
        super().__init__(output_dir=output_dir)


def test_what_a_pcr_compares_replaces_no_files(tmp_path, monkeypatch):
    """The first sample is predicted rightly, the second, which has no depth,
    half of it."""
    monkeypatch.chdir(tmp_path)
    evaluator = Evaluator([
        WritesCount(str(tmp_path / 'count')),
        IoUMetric(output_dir=str(tmp_path / 'maps')),
        IoUMetric(format_only=True, output_dir=str(tmp_path / 'labels')),
        DumpResults(str(tmp_path / 'all.pkl')),
        DumpsHere(),
        DumpsScores(),
        WritesMaps()])
    evaluator.dataset_meta = dict(classes=('a', 'b'))
    evaluators = CombinationEvaluators(
        evaluator, tiny.TinyPairs(), COMBINATIONS, COMBINATIONS[0])
    evaluators.expect({0: ('rgb', 'depth'), 1: ('rgb', )})
    label = torch.tensor([[[0, 1]]])
    samples = {
        i: SegDataSample(
            metainfo=dict(img_path=f'{i}.png'),
            gt_sem_seg=PixelData(data=label),
            pred_sem_seg=PixelData(data=label if i == 0 else label * 0))
        for i in range(2)
    }
    for combination in COMBINATIONS:
        has = samples if combination != ('depth', ) else {0: samples[0]}
        evaluators.process(combination, has, {})
    counts = evaluators.count()
    assert list(counts.values()) == [2, 2, 1]
    # a: 2 of 3 pixels, b: 1 of 2
    metrics = [e.evaluate(counts[c])
               for c, e in evaluators.evaluators.items()]
    assert [m['mIoU'] for m in metrics] == pytest.approx(
        [100 * (2 / 3 + 1 / 2) / 2] * 2 + [100])
    full = evaluators.evaluate_full_on_same(counts)
    assert list(full) == ['depth'] and 'dumped' not in full['depth']
    assert full['depth']['mIoU'] == full['depth']['written/mIoU'] == 100
    for name, count in zip(('rgb+depth', 'rgb', 'depth'), (2, 2, 1)):
        assert (tmp_path / name / 'count').read_text() == str(count)
        for file in ('all.pkl', 'here.pkl', 'scores.pkl'):
            dumped = (tmp_path / name / file).read_bytes()
            assert len(pickle.loads(dumped)) == count
        for folder in ('maps', 'labels', 'written'):
            assert len(list(
                (tmp_path / folder / name).rglob('*.png'))) == count


class ShareOfRight(BaseMetric):

    def process(self, data_batch, data_samples):
        self.results += [float(s['right']) for s in data_samples]

    def compute_metrics(self, results):
        return dict(right=sum(results) / len(results))


def test_what_a_pcr_compares_is_the_complete_combination():
    """Which is always right; in the first of three batches one sample has no
    depth, and in the last one all have it."""
    evaluators = CombinationEvaluators(
        Evaluator(ShareOfRight()), SimpleNamespace(), COMBINATIONS,
        COMBINATIONS[0])
    for lacking in (1, 0, None):
        evaluators.expect({
            i: COMBINATIONS[1] if i == lacking else COMBINATIONS[0]
            for i in range(2)})
        for combination in COMBINATIONS:
            evaluators.process(combination, {
                i: BaseDataElement(right=combination == COMBINATIONS[0])
                for i in range(2)
                if combination != ('depth', ) or i != lacking}, {})
    counts = evaluators.count()
    assert list(counts.values()) == [6, 6, 4]
    assert evaluators.evaluate_full_on_same(counts) == dict(
        depth=dict(right=1))
    assert evaluators.evaluators['depth', ].evaluate(4) == dict(right=0)


def test_samples_left_out_where_the_complete_combination_is_not_asked_for():
    evaluators = CombinationEvaluators(
        Evaluator([]), SimpleNamespace(), COMBINATIONS[1:], COMBINATIONS[0])
    evaluators.expect({0: ('rgb', )})
    evaluators.process(('rgb', ), {0: BaseDataElement()}, {})
    counts = evaluators.count()
    assert counts == {('rgb', ): 1, ('depth', ): 0}
    assert evaluators.evaluate_full_on_same(counts) == {}
    assert evaluators.constant_predictions() == {}


@pytest.mark.parametrize('batch', [
    [SegDataSample(pred_sem_seg=PixelData(data=torch.tensor([[labels]])))
     for labels in ((0, 1), (1, 2))],
    [SegDataSample(pred_sem_seg=PixelData(data=torch.zeros(1, 0, 2)))],
    [BaseDataElement(depth=torch.ones(1))],  # of a kind that nobody knows
])
def test_predictions_that_are_not_one_label(batch):
    evaluators = CombinationEvaluators(
        Evaluator([]), SimpleNamespace(), COMBINATIONS, COMBINATIONS[0])
    for combination in COMBINATIONS:
        evaluators.process(combination, dict(enumerate(batch)), {})
    assert evaluators.constant_predictions() == {}


@pytest.mark.parametrize('meta, name', [
    (dict(classes=('real', 'fake')), 'fake'),
    ([dict(classes=('real', 'fake'))] * 2, 'fake'),  # of a concatenation
    (dict(), '1'),
])
def test_one_label_for_all_images(meta, name):
    evaluator = Evaluator([])
    evaluators = CombinationEvaluators(
        evaluator, SimpleNamespace(), COMBINATIONS, COMBINATIONS[0])
    for each in evaluators.evaluators.values():
        each.dataset_meta = meta
    for combination, labels in zip(COMBINATIONS, ((1, 0), (1, 1), (1, 1))):
        for label in labels:  # one batch after the other
            evaluators.process(combination, {
                0: BaseDataElement(pred_label=torch.tensor([label]))}, {})
    assert evaluators.constant_predictions() == dict(rgb=name, depth=name)


class JudgesFiles(BaseMetric):
    """As MMSegmentation's CityscapesMetric: it cannot do without a folder."""

    def __init__(self, output_dir):
        super().__init__()
        self.output_dir = output_dir

    def process(self, data_batch, data_samples):
        for sample in data_samples:
            path = Path(self.output_dir) / f'{sample["img_path"]}.txt'
            path.write_text('1')
            self.results.append(path)

    def compute_metrics(self, results):
        return dict(files=sum(path.is_file() for path in results))


def test_a_metric_of_files_is_left_out_of_what_a_pcr_compares(tmp_path):
    evaluator = Evaluator(JudgesFiles(str(tmp_path)))
    evaluators = CombinationEvaluators(
        evaluator, tiny.TinyPairs(), COMBINATIONS, COMBINATIONS[0])
    evaluators.expect({0: ('rgb', 'depth'), 1: ('rgb', )})
    samples = {i: SegDataSample(metainfo=dict(img_path=f'{i}.png'))
               for i in range(2)}
    for combination in COMBINATIONS:
        has = samples if combination != ('depth', ) else {0: samples[0]}
        evaluators.process(combination, has, {})
    counts = evaluators.count()
    assert [e.evaluate(counts[c])['files']
            for c, e in evaluators.evaluators.items()] == [2, 2, 1]
    assert evaluators.evaluate_full_on_same(counts) == dict(depth={})
