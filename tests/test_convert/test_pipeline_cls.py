"""MMPretrain's pipelines for stacked images."""
import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.registry import init_default_scope

from mwam_mm.convert import multimodal_transforms
from mwam_mm.datasets.transforms import check_pipeline
from mwam_mm.registry import TRANSFORMS
from mwam_mm.stack import check_stack

from ..stacks import needs_classification

pytestmark = needs_classification
MODALITIES = dict(
    rgb=dict(channels=3, bgr_to_rgb=True, mean=[5., 6., 7.]),
    depth=dict(channels=1, mean=8.),
    thermal=dict(channels=1, mean=9., optional=True))
ERASING = dict(
    type='RandomErasing',
    erase_prob=1.,
    mode='rand',
    min_area_ratio=0.1,
    fill_color=[1, 2, 3],
    fill_std=[4, 4, 4])


@pytest.fixture(autouse=True)
def _scope():
    check_stack('mmpretrain')
    init_default_scope('mmpretrain')


@pytest.fixture
def sample(tmp_path):
    """Five channels of the same content, but for the grey level."""
    rng = np.random.default_rng(0)
    content = rng.integers(60, 200, (24, 32), np.uint8)
    paths = {}
    for i, key in enumerate(('img_path', 'depth_path', 'thermal_path')):
        paths[key] = str(tmp_path / f'{key}.png')
        cv2.imwrite(paths[key], np.dstack([content] * 3) if not i else content)
    return dict(paths, gt_label=1), content


def run(transforms, sample, seed=0):
    stock = [dict(type='LoadImageFromFile'), *transforms]
    pipeline = Compose([
        TRANSFORMS.build(t)
        for t in multimodal_transforms(stock, MODALITIES)
    ])
    check_pipeline(pipeline)
    np.random.seed(seed)
    return pipeline(dict(sample))


def randaugment(*policies):
    return dict(
        type='RandAugment',
        policies=list(policies),
        num_policies=1,
        magnitude_level=9,
        hparams=dict(pad_val=[1, 2, 3], interpolation='bicubic'))


@pytest.mark.parametrize('container', [
    lambda op: randaugment(op),
    lambda op: dict(type='AutoAugment', policies=[[op]]),
], ids=['RandAugment', 'AutoAugment'])
def test_turning_is_of_the_stack_and_colours_of_rgb(container, sample):
    sample, content = sample
    turned = run([container(dict(type='Rotate', angle=30., prob=1.))],
                 sample)['img'].astype(float)
    assert (turned[..., 3] != content).mean() > 0.5
    mean = np.array([7., 6., 5., 8., 9.])
    for c in range(5):  # the corners are what each is filled with
        np.testing.assert_allclose(turned[0, 0, c], mean[c])
    # the same content stays the same where nothing was filled
    inner = turned[8:16, 12:20]
    assert np.abs(inner - inner[..., :1]).max() <= 1
    inverted = run([container(dict(type='Invert', prob=1.))], sample)['img']
    np.testing.assert_array_equal(inverted[..., 3], content)
    np.testing.assert_array_equal(inverted[..., 0], 255 - content)


def test_magnitudes_are_those_of_the_stock_container(sample):
    from mmpretrain.datasets.transforms import RandAugment
    sample, content = sample
    policy = dict(type='Solarize', magnitude_range=(256, 0), prob=1.)
    out = run([randaugment(policy)], sample)['img']
    np.random.seed(0)
    stock = RandAugment([policy], num_policies=1, magnitude_level=9)
    expected = stock(dict(img=np.dstack([content] * 3)))['img']
    np.testing.assert_array_equal(out[..., :3], expected)
    assert (out[..., 0] != content).any()


@pytest.mark.parametrize('policies', ['timm_increasing', 'imagenet'])
def test_policies_by_name(policies, sample):
    auto = dict(type='AutoAugment', policies=policies)
    if policies == 'timm_increasing':
        auto = dict(auto, type='RandAugment', num_policies=2,
                    magnitude_level=9, magnitude_std=0.5)
    for seed in range(4):
        out = run([auto, dict(type='PackInputs')], sample[0], seed)
        assert out['inputs'].shape == (5, 24, 32)
        assert out['data_samples'].absent_modalities == ()


def test_erasing_fills_with_the_mean(sample):
    out = run([ERASING], sample[0])['img'].astype(int)
    erased = (out == [7, 6, 5, 8, 9]).all(-1)
    assert 0.1 < erased.mean() < 0.5
    assert (out[~erased] == sample[1][~erased][:, None]).all()


def test_a_whole_stock_pipeline(sample):
    out = run([
        dict(type='RandomResizedCrop', scale=16, backend='pillow',
             interpolation='bicubic'),
        dict(type='RandomFlip', prob=1.),
        dict(type='ColorJitter', brightness=0.4, hue=0.1),
        dict(type='RandomCrop', crop_size=16, padding=4),
        dict(type='ResizeEdge', scale=20),
        dict(type='CenterCrop', crop_size=16),
        dict(type='PackInputs'),
    ], sample[0])
    assert out['inputs'].shape == (5, 16, 16)
    assert int(out['data_samples'].gt_label) == 1


def test_edges_do_not_overshoot(sample):
    paths, content = sample
    step = np.zeros_like(content)
    step[:, 16:] = 200
    for i, path in enumerate(paths.values()):
        if i < 3:
            cv2.imwrite(path, np.dstack([step] * 3) if not i else step)
    modalities = dict(MODALITIES, depth=dict(channels=1, scale=0.5))
    pipeline = Compose([
        TRANSFORMS.build(t) for t in multimodal_transforms([
            dict(type='LoadImageFromFile'),
            dict(type='ResizeEdge', scale=60, interpolation='bicubic'),
            dict(type='ColorJitter', brightness=0.1)
        ], modalities)
    ])
    depth = pipeline(dict(paths))['img'][..., 3]
    assert depth.min() == 0 and depth.max() == 100


@pytest.mark.parametrize('transform', [
    dict(type='Rotate', angle=30.), ERASING,
    dict(type='RandomCrop', crop_size=16, padding=4),
    dict(type='ColorJitter')])
def test_on_the_stack_itself_it_is_refused(transform):
    load = dict(type='mwam_mm.LoadModalities', modalities=MODALITIES)
    with pytest.raises(ValueError, match=transform['type']):
        check_pipeline([TRANSFORMS.build(t) for t in (load, transform)])
    check_pipeline([TRANSFORMS.build(t) for t in (
        load, dict(type='RandomCrop', crop_size=16))])


@pytest.mark.parametrize('name', ['torchvision/Resize', 'NumpyToPIL',
                                  'MultiView'])
def test_what_cannot_be_carried_over(name, sample):
    with pytest.raises(ValueError, match=f'{name} cannot be carried over'):
        run([dict(type=name)], sample[0])
