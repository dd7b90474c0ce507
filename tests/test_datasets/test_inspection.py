"""Statistics and checks of a dataset's files."""
import re

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mwam_mm.datasets.inspection import ModalityStatistics, inspect_dataset
from mwam_mm.layout import ModalityLayout
from tests.benchmarks import SIZE, write_pst900

MODALITIES = dict(
    rgb=dict(channels=3, bgr_to_rgb=True),
    thermal=dict(
        channels=1,
        path_key='thermal_raw_path',
        scale=.01,
        invalid_value=[0, 65535]))
DATASET = dict(
    type='mwam_mm.PST900Dataset',
    split='train',
    pipeline=[
        dict(type='mwam_mm.LoadModalities', modalities=MODALITIES),
        dict(type='LoadAnnotations'),
        dict(type='PackSegInputs'),
    ])
NAME = '31_bag1a_rect_rgb_frame000000000{}.png'


@pytest.fixture
def root(tmp_path):
    init_default_scope('mmseg')
    return write_pst900(tmp_path / 'pst900')


def inspect(root, **kwargs):
    *_, last = inspect_dataset({**DATASET, 'data_root': str(root), **kwargs})
    return last


def read_all(root, folder):
    return np.stack([
        cv2.imread(str(path), -1)
        for path in sorted((root / 'train' / folder).iterdir())
    ]).astype(np.float64)


def test_statistics(root):
    path = root / 'train/thermal_raw' / NAME.format(1)
    raw = cv2.imread(str(path), -1)
    raw[:10] = 0
    raw[10:20, :3] = 65535
    cv2.imwrite(str(path), raw)
    found = inspect(root)
    assert (found.samples, found.problems) == (3, [])
    assert found.sizes == {SIZE: 3}
    assert {k: len(v) for k, v in found.files.items()} == dict(
        img_path=3, thermal_raw_path=3, seg_map_path=3)

    rgb = read_all(root, 'rgb')[..., ::-1]
    np.testing.assert_allclose(
        found.modalities['rgb'].mean, rgb.mean((0, 1, 2)))
    np.testing.assert_allclose(found.modalities['rgb'].std, rgb.std((0, 1, 2)))
    assert found.modalities['rgb'].invalid_share == 0

    thermal = found.modalities['thermal']
    values = read_all(root, 'thermal_raw')
    valid = values[(values != 0) & (values != 65535)] * .01
    np.testing.assert_allclose(thermal.mean, [valid.mean()])
    np.testing.assert_allclose(thermal.std, [valid.std()])
    np.testing.assert_allclose(thermal.range, (valid.min(), valid.max()))
    assert thermal.invalid_share == pytest.approx(
        (10 * SIZE[1] + 30) / values.size)
    assert thermal.dtypes == {'uint16': 3}

    labels = read_all(root, 'labels')
    shares = found.class_shares()
    assert shares['survivor'] == pytest.approx((labels == 4).mean())
    assert sum(shares.values()) == pytest.approx(1)


def test_statistics_far_from_zero():
    layout = ModalityLayout(dict(x=dict(channels=1)))
    statistics = ModalityStatistics(layout['x'])
    rng = np.random.default_rng(0)
    planes = 1e6 + rng.normal(0, .01, (5, 20, 30))
    for plane in planes:
        statistics.update([plane])
    assert statistics.std[0] == pytest.approx(planes.std(), rel=1e-6)


def test_nothing_valid():
    layout = ModalityLayout(dict(x=dict(channels=1, invalid_value=0)))
    statistics = ModalityStatistics(layout['x'])
    statistics.update([np.zeros((3, 4), np.uint8)])
    assert np.isnan(statistics.mean[0]) and np.isnan(statistics.std[0])
    assert statistics.invalid_share == 1


def statistics(*files, **fields):
    layout = ModalityLayout(dict(x=fields))
    found = ModalityStatistics(layout['x'])
    for file in files:
        found.update(list(np.moveaxis(file, -1, 0)))
    return found


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize('channels', [1, 3])
def test_a_value_that_many_pixels_have(dtype, channels):
    rng = np.random.default_rng(0)
    files = rng.integers(1, 250, (2, 20, 30, channels)).astype(dtype)
    assert statistics(*files, channels=channels).repeated is None
    files[0, :10] = 0
    found = statistics(*files, channels=channels)
    assert found.repeated == (0, .25)
    assert statistics(
        *files, channels=channels, invalid_value=0).repeated is None
    # the most frequent one of those that are not declared
    files[1, :4] = 250
    found = statistics(*files, channels=channels, invalid_value=0)
    assert found.repeated == (250, .1)


def test_a_narrow_distribution_repeats_nothing():
    file = np.random.default_rng(0).normal(20, 1.5, (100, 100, 1))
    file = file.round().astype(np.uint8)
    assert (file == 20).mean() > .2
    assert statistics(file, channels=1).repeated is None


@pytest.mark.parametrize('fields, far', [
    ({}, True),  # mean 0 and std 1
    (dict(mean=.5, std=.25), True),
    (dict(mean=123.7, std=58.4), False),
    (dict(mean=40., std=9.), False),
    (dict(mean=45., std=1.), True),
    (dict(mean=45., std=200.), True),
    (dict(mean=40., std=9., scale=.001), True),
])
def test_statistics_of_other_data(fields, far):
    file = np.random.default_rng(0).normal(45, 16, (50, 60, 1))
    file = file.clip(0, 255).astype(np.uint8)
    assert statistics(file, channels=1, **fields).far_from_config() is far


def test_blank_data_have_no_deviation():
    file = np.full((5, 6, 1), 7, np.uint8)
    assert not statistics(
        file, channels=1, mean=7., std=2.).far_from_config()
    assert not statistics(file, channels=1, invalid_value=7).far_from_config()


def put(path, array):
    cv2.imwrite(str(path), array)


@pytest.mark.parametrize('folder, array, message', [
    ('thermal_raw', np.zeros((7, 5), np.uint16), r'\(7, 5\)'),
    ('thermal_raw', np.zeros((*SIZE, 3), np.uint16), '3 channel'),
    ('rgb', np.zeros(SIZE, np.uint8), '1 channel'),
    ('labels', np.zeros((7, 5), np.uint8), r'\(7, 5\)'),
    ('labels', np.full(SIZE, 5, np.uint8), 'label 5 .2240 pixels.'),
    ('labels', np.full(SIZE, 257, np.uint16), 'uint16 and label 257|int32'),
    ('labels', np.zeros((*SIZE, 3), np.uint8), 'colour image'),
])
def test_problems_name_the_file(root, folder, array, message):
    path = root / 'train' / folder / NAME.format(1)
    put(path, array)
    found = inspect(root)
    assert found.samples == 3 and found.sizes == {SIZE: 2}
    problem, = found.problems
    assert str(root / 'train' / folder) in problem and NAME[:-8] in problem
    assert re.search(message, problem), problem


def test_damaged_and_missing_files(root):
    label = root / 'train/labels' / NAME.format(0)
    label.write_bytes(label.read_bytes()[:40])
    thermal = root / 'train/thermal_raw' / NAME.format(2)
    thermal.unlink()
    first, second = inspect(root).problems
    assert str(label) in first and 'cannot be read' in first
    assert str(thermal) in second and 'does not exist' in second


def test_ignored_pixels_are_no_problem(root):
    put(root / 'train/labels' / NAME.format(1), np.full(SIZE, 255, np.uint8))
    found = inspect(root)
    assert not found.problems
    assert found.labels[255] == SIZE[0] * SIZE[1]


def test_wrappers(root):
    *_, last = inspect_dataset(
        dict(
            type='ConcatDataset',
            datasets=[
                dict(DATASET, data_root=str(root)),
                dict(
                    type='RepeatDataset',
                    times=2,
                    dataset=dict(DATASET, data_root=str(root), split='test')),
            ]))
    assert last.samples == 5
    assert sum(last.sizes.values()) == 5


def test_datasets_that_cannot_have_one_table(root):
    """The second would count by the scale and the classes of the first."""
    other = dict(MODALITIES, thermal=dict(MODALITIES['thermal'], scale=1.))
    load, *rest = DATASET['pipeline']
    names = ('background', 'survivor', 'backpack')
    for change, message in (
            (dict(pipeline=[dict(load, modalities=other), *rest]),
             'the first dataset.*scale=0.01, but .*PST900Dataset.*scale=1.0'),
            (dict(metainfo=dict(classes=names)),
             'different classes.*PST900Dataset has .*survivor')):
        pair = [dict(DATASET, data_root=str(root), **more)
                for more in ({}, {}, change)]
        with pytest.raises(ValueError, match=message):
            list(inspect_dataset(dict(type='ConcatDataset', datasets=pair)))


def test_a_stock_pipeline_made_multimodal(root):
    stock = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='PackSegInputs')
    ]
    found = inspect(
        root,
        pipeline=[
            dict(
                type='mwam_mm.multimodal',
                modalities=MODALITIES,
                transforms=stock)
        ])
    expected = inspect(root)
    assert found.sizes == {SIZE: 3} and not found.problems
    assert found.modalities['thermal'].mean == \
        expected.modalities['thermal'].mean
    assert found.labels.tolist() == expected.labels.tolist()


def test_pipeline_without_modalities(root):
    with pytest.raises(ValueError, match='PST900Dataset.*LoadModalities'):
        inspect(root, pipeline=[dict(type='LoadAnnotations')])
