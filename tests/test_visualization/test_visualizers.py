"""Visualizers through the stock hooks, in a Runner on files."""
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement, PixelData
from mmseg.structures import SegDataSample

from mwam_mm.registry import VISUALIZERS
from mwam_mm.stack import has_detection
from mwam_mm.visualization.panels import ABSENT, INVALID

from ..test_apis.conftest import (
    META,
    MODALITIES,
    predict_all_classes,
    seg_config,
    with_modalities,
    write_pair,
)

pytestmark = pytest.mark.usefixtures('on_cpu')
NAMES = ('rgb+depth', 'rgb', 'depth')


@pytest.fixture
def pairs(tmp_path):
    """Two pairs and label maps; the arrays of the files."""
    found = {}
    for i in range(2):
        found[i] = write_pair(tmp_path / f'data/rgb/{i}.png',
                              tmp_path / f'data/depth/{i}.png', seed=i)
        path = tmp_path / f'data/label/{i}.png'
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.eye(40, 56, dtype=np.uint8))
    return found


def seg_test(folder, loop, *transforms):
    """A test of the tiny model on the pairs, drawn."""
    cfg = Config(seg_config())
    cfg.test_dataloader.dataset.pipeline.extend(transforms)
    cfg.merge_from_dict(
        dict(
            work_dir=str(folder / 'work'),
            experiment_name=folder.name,
            log_level='WARNING',
            test_dataloader=dict(
                dataset=dict(
                    data_root=str(folder / 'data'),
                    data_prefix=dict(
                        img_path='rgb', depth_path='depth',
                        seg_map_path='label'),
                    img_suffix='.png',
                    metainfo=META)),
            test_cfg=dict(type=loop),
            test_evaluator=dict(
                type='IoUMetric', output_dir=str(folder / 'maps')),
            default_hooks=dict(
                visualization=dict(
                    type='SegVisualizationHook', draw=True, interval=1)),
            visualizer=dict(
                type='mwam_mm.MultiModalSegVisualizer',
                vis_backends=[
                    dict(type='LocalVisBackend'),
                    dict(type='TensorboardVisBackend')
                ])))
    runner = Runner.from_cfg(cfg)
    torch.manual_seed(3)
    for parameter in runner.model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    if hasattr(runner.model, 'decode_head'):
        predict_all_classes(runner.model)
    runner.test()


def columns(path, count, size=(40, 56), factor=5):
    """The pictures of a panel, in the size of the sample."""
    picture = cv2.imread(str(path))[..., ::-1]
    width = factor * size[1] + 4
    assert picture.shape[1] == count * width
    return [
        picture[22:22 + factor * size[0]:factor,
                i * width + 4:(i + 1) * width:factor]
        for i in range(count)
    ]


def overlaid(rgb, labels):
    """Colours of a label map over a picture, at opacity 0.6."""
    palette = np.array(META['palette'])
    return np.rint(.4 * rgb + .6 * palette[labels])


class TestSeg:

    def test_every_modality_truth_and_combination(self, tmp_path, pairs):
        seg_test(tmp_path, 'mwam_mm.MissingModalityTestLoop')
        drawn = sorted(tmp_path.glob('work/*/vis_data/vis_image/*.png'))
        assert [p.name for p in drawn] == ['test_0.png_1.png',
                                           'test_1.png_2.png']
        for i, path in enumerate(drawn):
            colors, depths = pairs[i]
            rgb, depth, truth, *predictions = columns(path, 6)
            np.testing.assert_array_equal(rgb, colors[..., ::-1])
            np.testing.assert_array_equal(
                (depth == INVALID).all(2), depths == 0)
            # the colour map is bright where it is far
            far = depths > 5000
            assert depth[far][:, 1].min() > depth[depths == 0][:, 1].max()
            np.testing.assert_array_equal(
                truth, overlaid(rgb, np.eye(40, 56, dtype=int)))
            maps = [cv2.imread(str(tmp_path / f'maps/{name}/{i}.png'), -1)
                    for name in NAMES]
            assert (maps[1] != maps[2]).any()
            for labels, prediction in zip(maps, predictions):
                np.testing.assert_array_equal(
                    prediction, overlaid(rgb, labels))
        # TensorBoard has the pictures, too
        events, = tmp_path.glob('work/*/vis_data/events*')
        assert b'test_0.png' in events.read_bytes()

    def test_stock_loop_and_absent_modality(self, tmp_path, pairs):
        seg_test(tmp_path, 'TestLoop',
                 dict(type='mwam_mm.DropModality', modalities=['depth']))
        path, _ = sorted(tmp_path.glob('work/*/vis_data/vis_image/*.png'))
        rgb, depth, _, prediction = columns(path, 4)
        assert (depth == ABSENT).all()
        labels = cv2.imread(str(tmp_path / 'maps/0.png'), -1)
        np.testing.assert_array_equal(prediction, overlaid(rgb, labels))

    def test_classes_of_a_concatenation(self, monkeypatch):
        visualizer = VISUALIZERS.build(
            dict(type='mwam_mm.MultiModalSegVisualizer', name='listed'))
        visualizer.dataset_meta = [META, dict(META, palette=None)]
        monkeypatch.setattr(visualizer, '_read',
                            lambda _: dict(rgb=np.zeros((8, 9, 3), np.uint8)))
        sample = SegDataSample(
            pred_sem_seg=PixelData(data=torch.ones(1, 8, 9).long()))
        visualizer.add_datasample('a', None, sample)
        np.testing.assert_array_equal(
            visualizer.get_image()[30, 264], [0, 0, 150])

    def test_sample_without_its_paths(self, tmp_path):
        visualizer = VISUALIZERS.build(
            dict(type='mwam_mm.MultiModalSegVisualizer', name='lone'))
        sample = BaseDataElement(metainfo=dict(img_path='a.png'))
        with pytest.raises(ValueError, match='call add_config'):
            visualizer.add_datasample('a', None, sample)
        visualizer.add_config(Config(seg_config()))
        with pytest.raises(
                ValueError, match=r"a.png.*add \['depth_path'\] to the meta"):
            visualizer.add_datasample('a', None, sample)


@pytest.mark.skipif(not has_detection(), reason='needs mmdet')
def test_boxes_of_every_combination(tmp_path, pairs):
    """Through DetVisualizationHook and its folder."""
    from .. import tiny_det  # which imports mmdet
    (tmp_path / 'data/boxes.json').write_text(json.dumps(dict(
        images=[dict(id=1, file_name='0.png', height=40, width=56)],
        categories=[dict(id=1, name='near'), dict(id=2, name='far')],
        annotations=[dict(id=1, image_id=1, category_id=2, iscrowd=0,
                          bbox=[30, 8, 20, 25], area=500)])))
    loader = dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            type='mwam_mm.MultiModalCocoDataset',
            data_root=str(tmp_path / 'data'),
            ann_file='boxes.json',
            data_prefix=dict(img_path='rgb', depth_path='depth'),
            metainfo=dict(classes=('near', 'far'),
                          palette=[(255, 0, 0), (0, 0, 255)]),
            test_mode=True,
            pipeline=[
                dict(type='mwam_mm.LoadModalities', modalities=MODALITIES),
                dict(type='Resize', scale=(112, 80)),
                dict(type='LoadAnnotations', with_bbox=True),
                dict(type='PackDetInputs')
            ]))
    cfg = tiny_det.config(
        tmp_path,
        model=with_modalities(tiny_det.model(), MODALITIES),
        test_dataloader=loader,
        test_evaluator=dict(
            type='mmdet.CocoMetric',
            ann_file=str(tmp_path / 'data/boxes.json'),
            outfile_prefix=str(tmp_path / 'boxes/found')),
        default_hooks=dict(
            visualization=dict(
                type='DetVisualizationHook', draw=True, score_thr=0,
                test_out_dir='drawn')),
        visualizer=dict(type='mwam_mm.MultiModalDetVisualizer'))
    runner = Runner.from_cfg(cfg)
    # Boxes of some size and score everywhere.
    torch.nn.init.constant_(runner.model.bbox_head.conv_cls.bias, -1.)
    torch.nn.init.constant_(runner.model.bbox_head.conv_reg.bias, 2.)
    runner.test()
    path, = tmp_path.rglob('drawn/0.png')
    rgb, depth, truth, *predictions = columns(path, 6)
    colors, depths = pairs[0]
    np.testing.assert_array_equal(rgb, colors[..., ::-1])
    np.testing.assert_array_equal((depth == INVALID).all(2), depths == 0)
    assert (truth[8, 30:51] == (0, 0, 255)).all()
    assert (truth[8:34, 50] == (0, 0, 255)).all()
    for name, prediction in zip(NAMES, predictions):
        found, = (tmp_path / f'boxes/{name}').glob('*.bbox.json')
        boxes = json.loads(found.read_text())
        last = min(boxes, key=lambda box: box['score'])  # drawn over all
        x, y, w, h = (round(v) for v in last['bbox'])
        color = ((255, 0, 0), (0, 0, 255))[last['category_id'] - 1]
        assert (prediction[y + 1:y + h, x] == color).all(1).mean() > .5
