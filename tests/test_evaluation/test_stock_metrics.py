"""Stock metrics that lose neither digits nor classes nor files."""
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmseg.evaluation import IoUMetric

from mwam_mm.evaluation import (
    evaluate_defined,
    keep_everything,
    values_per_class,
)

CLASSES = ('road', 'car', 'never')


def evaluate(metric, samples, dataset=SimpleNamespace()):
    """Metrics and values per class."""
    evaluator = Evaluator([metric])
    evaluator.dataset_meta = dict(classes=CLASSES)
    keep_everything(evaluator, dataset)
    keep_everything(evaluator, dataset)  # nothing more happens
    evaluator.process(data_batch={}, data_samples=samples)
    return evaluator.evaluate(len(samples)), values_per_class(evaluator)


def pair(prediction, truth, img_path='0.png'):
    return dict(
        img_path=img_path,
        pred_sem_seg=dict(data=torch.tensor([prediction])),
        gt_sem_seg=dict(data=torch.tensor([truth])))


def test_digits_and_classes_of_the_iou():
    metrics, per_class = evaluate(
        IoUMetric(), [pair([[0, 0, 0, 1, 1, 1, 0]], [[0, 0, 1, 1, 1, 1, 1]])])
    # road: 2 of 4, car: 3 of 5
    assert metrics['mIoU'] == pytest.approx(100 * (2 / 4 + 3 / 5) / 2)
    assert metrics['aAcc'] == pytest.approx(500 / 7, rel=1e-6)
    assert per_class['mIoU'] == dict(
        road=pytest.approx(50), car=pytest.approx(60), never=None)
    assert per_class['mAcc'] == dict(
        road=pytest.approx(100), car=pytest.approx(60), never=None)


def test_what_a_subclass_makes_of_the_values_stays():

    class Halved(IoUMetric):

        def compute_metrics(self, results):
            metrics = super().compute_metrics(results)
            return dict(metrics, mIoU=metrics['mIoU'] / 2, own=1.23456)

    sample = pair([[0, 0, 0, 1, 1, 1, 0]], [[0, 0, 1, 1, 1, 1, 1]])
    metrics, _ = evaluate(Halved(prefix='seg'), [sample])
    assert metrics['seg/own'] == 1.23456
    assert metrics['seg/mIoU'] == pytest.approx(55 / 2)


def test_other_metrics_have_no_values_per_class():

    class Own(BaseMetric):
        per_class = True

        def process(self, data_batch, data_samples):
            self.results += data_samples

        def compute_metrics(self, results):
            return dict(own=1.)

    assert evaluate(Own(), [{}]) == (dict(own=1.), {})


def test_equal_names_in_different_folders(tmp_path):
    """KAIST counts the frames of each video from 0."""
    root = str(tmp_path / 'rgb')
    samples = [
        pair([[i, i], [i, 0]], [[0, 0], [0, 0]],
             f'{root}/set{i}/V000/I0.jpg')
        for i in range(3)
    ]
    metric = IoUMetric(output_dir=str(tmp_path / 'out'))
    evaluate(metric, samples,
             SimpleNamespace(data_prefix=dict(img_path=root)))
    for i in range(3):
        written = cv2.imread(
            str(tmp_path / f'out/set{i}/V000/I0.png'), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(written, [[i, i], [i, 0]])
    assert len(list((tmp_path / 'out').rglob('*.png'))) == 3
    samples[1]['img_path'] = f'{root}/set0/V000/I0.png'
    with pytest.raises(ValueError, match='I0.jpg.*I0.png.*suffix only'):
        evaluate(
            IoUMetric(output_dir=str(tmp_path / 'again')), samples,
            SimpleNamespace(data_prefix=dict(img_path=root)))


def boxes(img_id, corners, labels):
    return dict(
        img_id=img_id,
        ori_shape=(100, 100),
        instances=[
            dict(bbox=[0, 0, 40 + img_id, 40], bbox_label=0, ignore_flag=0),
            dict(bbox=[50, 50, 90, 90], bbox_label=1, ignore_flag=0)
        ],
        pred_instances=dict(
            bboxes=torch.tensor(corners).reshape(-1, 4).float(),
            scores=torch.linspace(.9, .5, len(labels)),
            labels=torch.tensor(labels, dtype=torch.long)))


@pytest.fixture
def coco():
    pytest.importorskip('mmcv.ops')
    return pytest.importorskip('mmdet.evaluation').CocoMetric


def test_digits_and_classes_of_the_map(coco):
    # Of three cars one is found, and one road of three.
    samples = [boxes(i, [], []) for i in range(2)]
    samples.append(
        boxes(2, [[0, 0, 42, 40], [50, 50, 90, 90]], [0, 1]))
    metrics, per_class = evaluate(coco(prefix='det'), samples)
    # 101 recalls from 0 to 1, of which 34 are at most one third
    assert metrics['det/bbox_mAP'] == pytest.approx(34 / 101, rel=1e-9)
    assert per_class['det/bbox_mAP'] == dict(
        road=pytest.approx(34 / 101), car=pytest.approx(34 / 101), never=None)


def test_images_that_were_not_predicted_are_no_misses(coco, tmp_path):
    """The json names all images, a combination may have fewer.

    Ids from 0 on, without area and iscrowd, are usual in files of one's own.
    """
    annotations = [
        dict(id=3 * i + j, image_id=i, category_id=j, bbox=box)
        for i in range(3)
        for j, box in enumerate([[0, 0, 40 + i, 40], [50, 50, 40, 40]])
    ]
    annotations[2]['area'] = -1640.  # of a polygon drawn the other way round
    (tmp_path / 'all.json').write_text(
        json.dumps(
            dict(
                images=[dict(id=i, height=100, width=100) for i in range(3)],
                annotations=annotations,
                categories=[
                    dict(id=i, name=name) for i, name in enumerate(CLASSES)
                ])))
    found = [boxes(i, [[0, 0, 40 + i, 40], [50, 50, 90, 90]], [0, 1])
             for i in range(3)]
    metric = coco(ann_file=str(tmp_path / 'all.json'))
    for samples in (found[1:2], found[:2], found):
        metrics, per_class = evaluate(metric, samples)
        assert metrics['coco/bbox_mAP'] == pytest.approx(1)
        assert per_class['coco/bbox_mAP']['car'] == pytest.approx(1)
    missed = [found[0], boxes(1, [], [])]
    assert evaluate(metric, missed)[0]['coco/bbox_mAP'] < 0.6


def test_classes_whose_ids_are_not_in_the_order_of_the_json(coco, tmp_path):
    """COCOeval sorts by id, so the values would be those of other classes."""
    ids = dict(road=7, car=3, never=5)
    annotations = [
        dict(id=i, image_id=0, category_id=ids[name], bbox=box)
        for i, (name, box) in enumerate(
            [('road', [0, 0, 40, 40]), ('car', [50, 50, 40, 40])])
    ]
    (tmp_path / 'all.json').write_text(
        json.dumps(
            dict(
                images=[dict(id=0, height=100, width=100)],
                annotations=annotations,
                categories=[dict(id=ids[c], name=c) for c in CLASSES])))
    metric = coco(ann_file=str(tmp_path / 'all.json'), classwise=True)
    metrics, per_class = evaluate(metric, [boxes(0, [[0, 0, 40, 40]], [0])])
    assert per_class['coco/bbox_mAP'] == dict(
        road=pytest.approx(1), car=0, never=None)
    assert metrics['coco/road_precision'] == pytest.approx(1)
    assert metrics['coco/car_precision'] == 0
    assert np.isnan(metrics['coco/never_precision'])


def test_the_mean_over_classes_is_the_map(coco):
    """Where an image has more detections than the 100 that the mAP takes."""
    corners = [[0, 0, 1, 1]] * 150 + [[0, 0, 40, 40], [50, 50, 90, 90]]
    metrics, per_class = evaluate(
        coco(), [boxes(0, corners, [0] * 151 + [1])])
    assert per_class['coco/bbox_mAP'] == dict(
        road=0, car=pytest.approx(1), never=None)
    assert metrics['coco/bbox_mAP'] == pytest.approx(0.5)


def test_two_images_of_one_id(coco):
    """As two json files have that both count from 0. What was found in one
    would be compared with the objects of the other."""
    samples = [boxes(7, [[0, 0, 40, 40]], [0]), boxes(7, [], [])]
    with pytest.raises(ValueError, match='several images have the id 7'):
        evaluate(coco(), samples)


def test_objects_to_ignore_are_no_misses(coco, tmp_path):
    annotations = [
        dict(id=i, image_id=0, category_id=1, bbox=box, ignore=int(i == 2))
        for i, box in ((1, [0, 0, 40, 40]), (2, [50, 50, 40, 40]))
    ]
    (tmp_path / 'all.json').write_text(
        json.dumps(
            dict(
                images=[dict(id=0, height=100, width=100)],
                annotations=annotations,
                categories=[
                    dict(id=i, name=name) for i, name in enumerate(CLASSES)
                ])))
    metric = coco(ann_file=str(tmp_path / 'all.json'))
    metrics, _ = evaluate(metric, [boxes(0, [[0, 0, 40, 40]], [1])])
    assert metrics['coco/bbox_mAP'] == pytest.approx(1)


def test_nothing_detected_at_all(coco, tmp_path):
    samples = [boxes(i, [], []) for i in range(2)]
    metric = coco(outfile_prefix=str(tmp_path / 'found'))
    metrics, per_class = evaluate(metric, samples)
    assert metrics['coco/bbox_mAP'] == metrics['coco/bbox_mAP_50'] == 0
    # As ever where there is no such truth.
    assert metrics['coco/bbox_mAP_l'] == -1
    assert per_class['coco/bbox_mAP'] == dict(road=0, car=0, never=None)
    assert json.loads((tmp_path / 'found.bbox.json').read_text()) == []
    assert metric.outfile_prefix == str(tmp_path / 'found')


def test_no_such_truth_is_undefined(coco):
    """An average over combinations would take -1 for a score."""
    evaluator = Evaluator([coco(prefix='det'), IoUMetric(prefix='seg')])
    evaluator.dataset_meta = dict(classes=CLASSES)
    keep_everything(evaluator, SimpleNamespace())
    evaluator.metrics[1].compute_metrics = lambda results: dict(kappa=-1.)
    found = boxes(0, [[0, 0, 40, 40], [50, 50, 90, 90]], [0, 1])
    evaluator.process(
        data_batch={}, data_samples=[dict(found, **pair([[0]], [[0]]))])
    metrics = evaluate_defined(evaluator, 1)
    assert metrics['det/bbox_mAP'] == pytest.approx(1)
    assert np.isnan([metrics[f'det/bbox_mAP_{k}'] for k in 'sl']).all()
    assert metrics['seg/kappa'] == -1


def test_metrics_of_several_datasets(coco):
    """Of the first image the road is found, of the second the car."""
    evaluation = pytest.importorskip('mmdet.evaluation')
    evaluator = evaluation.MultiDatasetsEvaluator([coco(), coco()],
                                                  ['day', 'night'])
    evaluator.dataset_meta = dict(classes=CLASSES, cumulative_sizes=[1, 2])
    keep_everything(evaluator, SimpleNamespace())
    evaluator.process(
        data_batch={},
        data_samples=[
            boxes(0, [[0, 0, 40, 40]], [0]),
            boxes(1, [[50, 50, 90, 90]], [1])
        ])
    metrics = evaluate_defined(evaluator, 2)
    for dataset, road, car in (('day', 1, 0), ('night', 0, 1)):
        prefix = f'{dataset}/coco/bbox_mAP'
        assert metrics[prefix] == pytest.approx(0.5)
        assert np.isnan(metrics[f'{prefix}_l'])
        assert values_per_class(evaluator)[prefix] == pytest.approx(
            dict(road=road, car=car, never=None))


def test_no_mask_detected_at_all(coco):
    samples = [boxes(i, [], []) for i in range(2)]
    for sample in samples:
        sample['pred_instances']['masks'] = torch.zeros(0, 100, 100).bool()
        for instance in sample['instances']:
            x1, y1, x2, y2 = instance['bbox']
            instance['mask'] = [[x1, y1, x2, y1, x2, y2, x1, y2]]
    metrics, per_class = evaluate(coco(metric=['bbox', 'segm']), samples)
    assert metrics['coco/bbox_mAP'] == metrics['coco/segm_mAP'] == 0
    assert per_class['coco/segm_mAP']['car'] == 0
