"""Looking into configs and into what was built from them."""
from types import SimpleNamespace

import pytest
from mmcv.transforms import RandomApply, RandomFlip
from mmengine.dataset import BaseDataset, Compose, ConcatDataset
from mmengine.runner import Runner

from mwam_mm.config import (
    dataset_of_tests,
    first_metainfo,
    leaf_datasets,
    parameter_of,
    type_name,
    walk_datasets,
    walk_dicts,
    walk_pipelines,
    walk_transforms,
    wrapped_datasets,
)

from .test_package import run_python


@pytest.mark.parametrize('type_, expected', [
    ('IoUMetric', 'IoUMetric'),
    ('mmseg.IoUMetric', 'IoUMetric'),
    ('mmseg.evaluation.IoUMetric', 'IoUMetric'),
    (Runner, 'Runner'),
])
def test_type_name(type_, expected):
    assert type_name(dict(type=type_)) == expected
    assert type_name(dict()) == ''


def test_type_name_of_an_object():
    assert type_name(RandomFlip(0.5)) == 'RandomFlip'


def test_it_needs_no_openmmlab():
    run = run_python(
        'import mwam_mm.config',
        blocked=['mmengine', 'mmcv', 'mmseg', 'mmdet', 'torch'])
    assert run.returncode == 0, run.stderr


def test_walk_dicts():
    cfg = dict(a=dict(b=[1, dict(c=2)]), d=(dict(e=dict()), ))
    assert dict(walk_dicts(cfg)) == {
        '': cfg,
        'a': cfg['a'],
        'a.b.1': dict(c=2),
        'd.0': cfg['d'][0],
        'd.0.e': dict()
    }
    assert [path for path, _ in walk_dicts(cfg['a'], 'base')
            ] == ['base', 'base.b.1']


def test_dicts_may_be_changed_meanwhile():
    cfg = dict(a=dict(), b=dict(c=dict()))
    for _, part in walk_dicts(cfg):
        part.pop('a', None)
        part['new'] = 1
    assert cfg == dict(b=dict(c=dict(new=1), new=1), new=1)


class Base:
    def __init__(self, a, b=1, **kwargs):
        pass


class PassesOn(Base):
    def __init__(self, c, **kwargs):
        super().__init__(**kwargs)


class Inherits(PassesOn):
    pass


class Takes(Base):
    def __init__(self, c):
        super().__init__(c)


def test_parameters_that_a_class_passes_on():
    for cls in (Base, PassesOn, Inherits):
        assert parameter_of(cls, 'b').default == 1
    assert parameter_of(Inherits, 'c').name == 'c'
    assert parameter_of(Takes, 'c') is not None
    for cls, name in ((Takes, 'a'), (Base, 'c'), (Inherits, 'd')):
        assert parameter_of(cls, name) is None


def test_first_metainfo():
    one, other = dict(classes=('a', )), dict(classes=('b', ))
    assert first_metainfo(one) is one
    assert first_metainfo([one, other]) is first_metainfo((one, )) is one
    assert first_metainfo(None) == {}


def names(walk):
    return [type_name(part) for part in walk]


DATASETS = dict(
    type='ConcatDataset',
    datasets=[
        dict(
            type='RepeatDataset',
            times=2,
            dataset=dict(type='A', pipeline=[dict(type='LoadA')])),
        dict(
            type='MultiImageMixDataset',
            pipeline=[dict(type='Mosaic')],
            dataset=dict(type='B', pipeline=[dict(type='LoadB')]))
    ])

@pytest.mark.parametrize('cfg, expected', [
    (dict(test_dataloader=dict(dataset=DATASETS),
          val_dataloader=dict(dataset=dict(type='V'))), 'A'),
    (dict(test_dataloader=None,
          val_dataloader=dict(dataset=dict(type='V'))), 'V'),
    (dict(val_dataloader=dict(dataset=DATASETS)), 'A'),
    (dict(train_dataloader=dict(dataset=DATASETS)), ''),
])
def test_dataset_of_tests(cfg, expected):
    assert type_name(dataset_of_tests(cfg)) == expected



def test_datasets_of_a_config():
    assert names(walk_datasets(DATASETS)) == [
        'ConcatDataset', 'RepeatDataset', 'A', 'MultiImageMixDataset', 'B'
    ]
    assert names(leaf_datasets(DATASETS)) == ['A', 'B']
    assert names(leaf_datasets(DATASETS['datasets'])) == ['A', 'B']
    assert names(wrapped_datasets(DATASETS)) == [
        'RepeatDataset', 'MultiImageMixDataset'
    ]
    assert names(walk_pipelines(DATASETS)) == ['LoadA', 'Mosaic', 'LoadB']


TRANSFORMS = [
    dict(type='RandomApply', transforms=dict(type='A')),
    dict(type='RandomChoice', transforms=[[dict(type='B')], dict(type='C')]),
    dict(type='AutoAugment', policies=[[dict(type='D')]]),
    dict(type='RandAugment', aug_space=[[dict(type='E')]]),
    dict(
        type='MultiBranch',
        branch_field=['x', 'y'],
        x=[dict(type='F')],
        y=[dict(type='TestTimeAug', transforms=[[dict(type='G')]])]),
]


def test_transforms_of_a_config():
    assert names(walk_transforms(TRANSFORMS)) == [
        'RandomApply', 'A', 'RandomChoice', 'B', 'C', 'AutoAugment', 'D',
        'RandAugment', 'E', 'MultiBranch', 'F', 'TestTimeAug', 'G'
    ]
    assert names(
        walk_transforms(TRANSFORMS, closed=('RandomApply', 'MultiBranch'))) \
        == ['RandomApply', 'RandomChoice', 'B', 'C', 'AutoAugment', 'D',
            'RandAugment', 'E', 'MultiBranch']


def test_transforms_of_built_containers():
    """As AutoAugment, MultiBranch and the others hold them."""
    a, b, c = (RandomFlip(0.5) for _ in range(3))
    auto = SimpleNamespace(subroutines=[Compose([a]), Compose([b])])
    branches = SimpleNamespace(
        branch_pipelines=dict(x=Compose([c]), y=[auto]))
    found = list(walk_transforms(branches))
    assert [x for x in found if isinstance(x, RandomFlip)] == [c, a, b]
    assert not any(isinstance(x, dict) for x in found)


class Listed(BaseDataset):
    METAINFO = dict(classes=('a', ))

    def load_data_list(self):
        return [dict(img_path='a')]


def test_built_datasets_and_transforms():
    flip = RandomFlip(0.5)
    inner = Listed(pipeline=[RandomApply([flip], 0.5)])
    dataset = ConcatDataset([inner, Listed(pipeline=[flip])])
    assert list(walk_datasets(dataset)) == [dataset, *dataset.datasets]
    assert list(leaf_datasets(dataset)) == dataset.datasets
    assert names(walk_pipelines(dataset)) == [
        'Compose', 'RandomApply', 'Compose', 'RandomFlip', 'Compose',
        'RandomFlip'
    ]
    assert sum(part is flip for part in walk_pipelines(dataset)) == 2
    assert isinstance(next(walk_pipelines(dataset)), Compose)
