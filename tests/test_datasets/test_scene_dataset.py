"""SceneDataset through the registry, from rendering to packed samples."""
import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mwam_mm.datasets.scene_dataset import SceneDataset
from mwam_mm.datasets.scenes import CLASSES, PALETTE
from mwam_mm.registry import DATASETS

SCENES = dict(splits=dict(train=3, val=1), height=24, width=32)
PIPELINE = [
    dict(
        type='mwam_mm.LoadModalities',
        modalities=dict(
            rgb=dict(channels=3, bgr_to_rgb=True),
            depth=dict(channels=1, scale=0.001, invalid_value=0),
            thermal=dict(channels=1))),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmseg')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'scenes'
    SceneDataset(str(root), scene_cfg=SCENES)
    return root


def build(root, **kwargs):
    return DATASETS.build(
        dict(
            type='mwam_mm.SceneDataset',
            data_root=str(root),
            scene_cfg=SCENES,
            **kwargs))


@pytest.mark.parametrize('split, count', [('train', 3), ('val', 1)])
def test_lists_the_files_of_the_split(root, split, count):
    dataset = build(root, split=split)
    assert len(dataset) == count
    for i in range(count):
        info = dataset.get_data_info(i)
        for key, kind in (('img_path', 'rgb'), ('depth_path', 'depth'),
                          ('thermal_path', 'thermal'), ('seg_map_path',
                                                        'label')):
            assert info[key] == str(root / kind / split / f'{i:06d}.png')
            assert cv2.imread(info[key], cv2.IMREAD_UNCHANGED) is not None


def test_metainfo(root):
    meta = build(root).metainfo
    assert tuple(meta['classes']) == CLASSES
    assert meta['palette'] == PALETTE


def test_packed_sample_equals_the_files(root):
    dataset = build(root, split='val', pipeline=PIPELINE)
    packed = dataset[0]
    info = dataset.get_data_info(0)
    inputs = packed['inputs'].numpy()
    assert inputs.shape == (5, 24, 32)
    bgr, depth, thermal, label = (
        cv2.imread(info[key], cv2.IMREAD_UNCHANGED)
        for key in ('img_path', 'depth_path', 'thermal_path', 'seg_map_path'))
    np.testing.assert_array_equal(inputs[:3], bgr.transpose(2, 0, 1))
    valid = depth > 0
    np.testing.assert_allclose(
        inputs[3][valid], depth[valid] / 1000, rtol=1e-6)
    np.testing.assert_array_equal(inputs[4], thermal)
    np.testing.assert_array_equal(
        packed['data_samples'].gt_sem_seg.data.numpy()[0], label)


def test_indices_take_the_first_scenes(root):
    assert len(build(root, indices=2)) == 2


def test_fewer_classes_map_the_labels(root):
    dataset = build(
        root,
        split='val',
        pipeline=PIPELINE[1:2],
        metainfo=dict(classes=('background', 'poster')))
    seen = np.unique(dataset[0]['gt_seg_map'])
    assert set(seen) <= {0, 1, 255} and 255 in seen


def test_nothing_is_rendered_before_it_is_needed(tmp_path):
    dataset = build(tmp_path / 'scenes', split='val', lazy_init=True)
    assert list(tmp_path.iterdir()) == []
    dataset.full_init()
    assert len(dataset) == 1


def test_unknown_split_is_named_before_rendering(tmp_path):
    with pytest.raises(ValueError, match=r"'test'.*\['train', 'val'\]"):
        build(tmp_path / 'scenes', split='test')
    assert list(tmp_path.iterdir()) == []


def test_other_settings_are_an_error(root):
    with pytest.raises(RuntimeError, match='height=24 where 120'):
        SceneDataset(str(root))
