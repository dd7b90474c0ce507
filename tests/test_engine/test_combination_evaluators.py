import json
from types import SimpleNamespace

import pytest
from mmengine.evaluator import Evaluator

from mwam_mm.engine.combination_evaluators import CombinationEvaluators


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
    combinations = [('rgb', 'depth'), ('rgb', ), ('depth', )]
    evaluators = CombinationEvaluators(
        Evaluator(metric), SimpleNamespace(), combinations, combinations[0])
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
    combinations = [('rgb', 'depth'), ('rgb', ), ('depth', )]
    evaluators = CombinationEvaluators(
        evaluation.MultiDatasetsEvaluator(metrics, ['day', 'night']),
        SimpleNamespace(), combinations, combinations[0])
    evaluators.expect({0: ('rgb', 'depth'), 1: ('rgb', 'depth')})
    with pytest.raises(TypeError, match='nothing of "depth".*MultiDatasets'):
        evaluators.expect({0: ('rgb', ), 1: ('rgb', 'depth')})
