"""Data and model that do not fit each other are errors."""
import json
import re
import types

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.runner import Runner, TestLoop

from mwam_mm.cli import build_runner
from mwam_mm.consistency import (
    check_classes,
    check_data,
    check_layouts,
    check_runner,
)
from mwam_mm.layout import ModalityLayout
from mwam_mm.registry import DATASETS

from . import tiny
from .stacks import needs_detection


def part(**channels):
    module = torch.nn.Identity()
    module.layout = ModalityLayout(
        {n: dict(channels=c) for n, c in channels.items()})
    return module


def test_parts_of_a_model_have_one_layout():
    one = part(a=1, b=1)
    check_layouts(torch.nn.Sequential(one, part(a=1, b=1), part(b=1, a=1)))
    for other in (part(a=1, c=1), part(a=1, b=2)):
        with pytest.raises(ValueError, match='different modalities'):
            check_layouts(torch.nn.Sequential(one, other))


@pytest.mark.parametrize('field, values', [
    ('mean', (3.5, 3)),
    ('std', (2, 1)),
    ('scale', (0.001, 1)),
    ('invalid_value', (0, None)),
    ('bgr_to_rgb', (True, False)),
])
def test_fields_that_must_agree(field, values):
    layouts = [
        ModalityLayout(dict(rgb={'channels': 3, field: value}))
        for value in values
    ]
    model = torch.nn.Sequential(part(rgb=3))
    model[0].layout = layouts[0]
    beside = [('loader.pipeline.modalities', 'LoadModalities', layouts[1])]
    with pytest.raises(ValueError) as error:
        check_layouts(model, beside=beside)
    words = str(error.value)
    assert f"model.0.modalities['rgb'] (Identity) has {field}=" in words
    assert ("but loader.pipeline.modalities['rgb'] (LoadModalities) has "
            f'{field}=') in words
    check_layouts(model, beside=[('', '', layouts[0])])


def test_fields_that_may_differ():
    """Where the files of another dataset have the same values."""
    model = part(depth=1)
    model.layout, other = (
        ModalityLayout(
            dict(depth=dict(channels=1, invalid_value=float('nan'), **fields)))
        for fields in (dict(), dict(path_key='d', file_channels=[2],
                                   optional=True)))
    check_layouts(model, beside=[('', '', other)])


@DATASETS.register_module()
class PairsWithPipeline(tiny.TinyPairs):
    """Its pipeline does not run, but is compared."""

    def __init__(self, modalities=tiny.MODALITIES, classes=('a', 'b')):
        super().__init__(size=2)
        self.metainfo = dict(classes=classes, palette=[[0, 0, 0]] * 3)
        self.pipeline = Compose(
            [dict(type='mwam_mm.LoadModalities', modalities=modalities)])


def config(work_dir, stage, **dataset):
    """A run whose datasets fit, but for that of one stage."""
    loaders = {
        f'{key}_dataloader': dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='InfiniteSampler' if key == 'train' else
                         'DefaultSampler', shuffle=False),
            dataset=dict(
                type='mwam_mm.PairsWithPipeline',
                **(dataset if key == stage else {})))
        for key in ('train', 'val', 'test')
    }
    return tiny.config(
        work_dir,
        max_iters=1,
        val_cfg=dict(type='ValLoop'),
        test_cfg=dict(type='TestLoop'),
        val_evaluator=dict(type='mmseg.IoUMetric', prefix='seg'),
        test_evaluator=dict(type='mmseg.IoUMetric', prefix='seg'),
        **loaders)


def run(runner, stage):
    return dict(train=runner.train, val=runner.val, test=runner.test)[stage]()


OTHER_MEAN = dict(tiny.MODALITIES, depth=dict(channels=1, mean=4., std=2.))


@pytest.mark.parametrize('stage', ['train', 'val', 'test'])
def test_another_mean_in_a_pipeline(tmp_path, stage):
    runner = build_runner(config(tmp_path, stage, modalities=OTHER_MEAN))
    with pytest.raises(ValueError) as error:
        run(runner, stage)
    assert ("model.data_preprocessor.modalities['depth'] "
            '(MultiModalSegDataPreprocessor) has mean=3.0, but '
            f"{stage}_dataloader.dataset.pipeline.modalities['depth'] "
            '(LoadModalities) has mean=4.0') in str(error.value)


def test_training_checks_what_it_validates_on(tmp_path):
    runner = build_runner(config(tmp_path, 'val', modalities=OTHER_MEAN))
    with pytest.raises(ValueError, match='val_dataloader.dataset.pipeline'):
        runner.train()
    assert runner.iter == 0


@pytest.mark.parametrize('suffix', ['.png', '_d.png'])
def test_an_optional_modality_that_no_sample_has(tmp_path, suffix,
                                                 monkeypatch):
    for folder in ('rgb', 'depth', 'ann'):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / 'a.png'),
                    np.ones((4, 4), np.uint8))
    dataset = DATASETS.build(dict(
        type='mwam_mm.MultiModalSegDataset',
        metainfo=dict(classes=('a', 'b')),
        data_root=str(tmp_path),
        data_prefix=dict(
            img_path='rgb', depth_path='depth', seg_map_path='ann'),
        img_suffix='.png',
        modality_suffix=dict(depth_path=suffix),
        pipeline=[dict(
            type='mwam_mm.LoadModalities',
            modalities=dict(
                rgb=dict(channels=1),
                depth=dict(channels=1, optional=True)))]))
    said = []
    monkeypatch.setattr('mwam_mm.consistency.print_log',
                        lambda text, *args: said.append(text))
    check_data(torch.nn.Identity(), {}, {'train_dataloader.dataset': dataset})
    assert bool(said) == (suffix != '.png')
    assert all('train_dataloader.dataset' in text and '"depth"' in text
               for text in said)


def test_any_runner_with_ours_in_it_checks(tmp_path):
    """The hook that balances, and the loops, also without our tools."""
    cfg = config(tmp_path, 'train', modalities=OTHER_MEAN)
    cfg.model.neck.mwam = dict()
    cfg.custom_hooks = [dict(type='mwam_mm.MWAMHook')]
    with pytest.raises(ValueError, match='train_dataloader.dataset.pipeline'):
        Runner.from_cfg(cfg).train()
    cfg = config(tmp_path, 'test', modalities=OTHER_MEAN)
    cfg.test_cfg = dict(type='mwam_mm.MissingModalityTestLoop')
    with pytest.raises(ValueError, match='test_dataloader.dataset.pipeline'):
        Runner.from_cfg(cfg).test()


def test_datasets_with_other_classes():
    datasets = {
        name: types.SimpleNamespace(metainfo=dict(classes=classes))
        for name, classes in (('train', ('a', 'b')), ('val', ['a', 'b']),
                              ('test', ('b', 'a')))
    }
    with pytest.raises(ValueError) as error:
        check_data(torch.nn.Identity(), {}, datasets)
    assert 'train has (a, b), but test has (b, a)' in str(error.value)
    del datasets['test']
    check_data(torch.nn.Identity(), {}, datasets)


def test_concatenated_datasets_with_other_classes():
    """mmdet's concatenation has the metainfo of each in a list."""

    def concatenated(*classes):
        return types.SimpleNamespace(
            metainfo=[dict(classes=c, palette=[i])
                      for i, c in enumerate(classes)])

    same = concatenated(('a', 'b'), ('a', 'b'))
    check_data(torch.nn.Identity(), {}, dict(train=same, val=same))
    with pytest.raises(ValueError, match=r'val has \(b, a\)'):
        check_data(
            torch.nn.Identity(), {},
            dict(train=same, val=concatenated(('a', 'b'), ('b', 'a'))))


@pytest.mark.parametrize('stage', ['val', 'test'])
def test_classes_of_the_checkpoint(tmp_path, stage, capsys):
    build_runner(config(tmp_path / 'learn', None)).train()
    checkpoint = str(tmp_path / 'learn/iter_1.pth')

    def evaluate(classes):
        cfg = config(tmp_path / 'use', stage, classes=classes)
        other, = {'val', 'test'} - {stage}
        for key in ('dataloader', 'cfg', 'evaluator'):
            cfg[f'{other}_{key}'] = None
        cfg.load_from = checkpoint
        run(build_runner(cfg), stage)

    with pytest.raises(ValueError) as error:
        evaluate(('b', 'a'))
    assert (f'{stage}_dataloader.dataset has the classes (b, a), but the '
            f'checkpoint {checkpoint} was trained on (a, b)') in str(
                error.value)
    capsys.readouterr()
    evaluate(('a', 'b'))
    said = capsys.readouterr()
    assert 'trained on' not in said.out + said.err
    evaluate(('a', 'c'))
    said = capsys.readouterr()
    assert 'trained on (a, b): taken for the same' in said.out + said.err


def test_checkpoints_of_other_models(tmp_path):
    """MMEngine would test what they lack as it was initialised."""
    cfg = config(tmp_path / 'learn', None)
    build_runner(cfg).train()
    learned = torch.load(tmp_path / 'learn/iter_1.pth', weights_only=False)
    one_branch = dict(
        learned,
        state_dict={
            key: value for key, value in learned['state_dict'].items()
            if 'branches.depth.' not in key
        })
    three = dict(learned, meta=dict(dataset_meta=dict(classes=('a', 'b', 'c')))
                 )
    weights = learned['state_dict']
    name = 'decode_head.conv_seg.weight'
    other_head = dict(
        learned, state_dict={**weights, name: weights[name][:, :1]})
    no_head = dict(
        learned, state_dict={k: v for k, v in weights.items() if k != name})
    cfg.load_from = str(tmp_path / 'other.pth')
    message = r'lacks 1 parameters .*: decode_head.conv_seg.weight\. They'
    for checkpoint, message in (
        (other_head, message),
        (no_head, message),
        (one_branch, r"no weights for the branches of \['depth'\]"),
        ([weights], 'other.pth holds no weights, but list'),
        (three, r'\(a, b\), but .* on \(a, b, c\): test it by')):
        torch.save(checkpoint, cfg.load_from)
        with pytest.raises(ValueError, match=message):
            build_runner(cfg).test()
    torch.save(7, cfg.load_from)
    with pytest.raises(ValueError, match='other.pth holds no weights, but in'):
        build_runner(cfg).train()
    torch.save(one_branch, cfg.load_from)
    build_runner(cfg).train()  # which may start a branch from scratch


def test_a_training_may_go_on_from_other_classes(tmp_path):
    build_runner(config(tmp_path / 'learn', None)).train()
    cfg = config(tmp_path / 'go_on', None)
    for stage in ('train', 'val', 'test'):
        cfg[f'{stage}_dataloader'].dataset.classes = ('b', 'a')
    cfg.load_from = str(tmp_path / 'learn/iter_1.pth')
    runner = build_runner(cfg)
    runner.train()
    assert runner.iter == 1


@pytest.mark.parametrize('by_epoch', [True, False])
def test_a_training_without_a_batch(tmp_path, by_epoch):
    cfg = config(tmp_path, 'train')
    cfg.train_dataloader.update(
        batch_size=1000,
        drop_last=True,
        sampler=dict(type='DefaultSampler', shuffle=False))
    if by_epoch:
        cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
        with pytest.raises(ValueError, match='train_dataloader has no batch'):
            build_runner(cfg).train()
    else:
        # A sampler without end gives batches, also larger than the dataset.
        cfg.train_dataloader.update(
            batch_size=5, sampler=dict(type='InfiniteSampler'))
        runner = build_runner(cfg)
        runner.train()
        assert runner.iter > 0


def test_the_order_of_the_mapping_does_not_matter(tmp_path):
    backwards = dict(reversed(list(tiny.MODALITIES.items())))
    cfg = config(tmp_path, 'train', modalities=backwards)
    runner = build_runner(cfg)
    runner.train()
    assert runner.iter == 1


def test_the_variable_of_the_config_counts(tmp_path):
    """A program that is not ours loads a file that changes it only."""
    cfg = config(tmp_path, 'train')
    cfg.modalities = OTHER_MEAN
    with pytest.raises(ValueError) as error:
        build_runner(cfg).train()
    assert "modalities['depth'] (the variable) has mean=4.0" in str(
        error.value)
    assert 'follow_modalities' in str(error.value)


@pytest.mark.parametrize('stage', ['train', 'val', 'test'])
def test_another_number_of_classes(tmp_path, stage):
    runner = build_runner(config(tmp_path, stage, classes=('a', 'b', 'c')))
    with pytest.raises(ValueError) as error:
        run(runner, stage)
    assert ('model.decode_head.num_classes=2, but '
            f'{stage}_dataloader.dataset has 3 classes (a, b, c)') in str(
                error.value)


class Head(torch.nn.Module):

    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes


class STDCHead(Head):
    pass


def test_which_heads_have_the_classes_of_the_data():
    classes = ('a', 'b', 'c')
    model = torch.nn.Module()
    model.decode_head = torch.nn.ModuleList([Head(3), Head(3)])
    model.auxiliary_head = torch.nn.ModuleList([Head(3), STDCHead(2)])
    model.rpn_head = Head(1)
    check_classes(model, {}, classes, 'data')
    check_classes(model, {}, None, 'data')
    model.auxiliary_head[0].num_classes = 4
    recipe = dict(model=dict(type='mwam_mm.multimodal', num_classes=4))
    for cfg, key in (({}, 'auxiliary_head.0.num_classes'),
                     (recipe, 'model.num_classes')):
        with pytest.raises(ValueError, match=f'{key}=4, but data has 3'):
            check_classes(model, cfg, classes, 'data')
    binary = torch.nn.Module()
    binary.decode_head = Head(1)
    binary.decode_head.out_channels = 1
    check_classes(binary, {}, ('a', 'b'), 'data')
    detector = torch.nn.Module()
    detector.roi_head = torch.nn.Module()
    detector.roi_head.bbox_head = Head(4)
    with pytest.raises(ValueError, match='roi_head.bbox_head.num_classes=4'):
        check_classes(detector, {}, classes, 'data')


def write_coco(path, files, categories=('near', 'far')):
    """A COCO json of images whose ids are their places."""
    path.write_text(json.dumps(dict(
        images=[dict(id=i, file_name=name, height=8, width=8)
                for i, name in enumerate(files)],
        annotations=[
            dict(id=i + 1, image_id=i, category_id=3, bbox=[0, 0, 4, 4],
                 area=16, iscrowd=0) for i in range(len(files))
        ],
        categories=[dict(id=3 - i, name=name)
                    for i, name in enumerate(categories)])))
    return str(path)


@needs_detection
@pytest.mark.parametrize('files, categories, message', [
    (['x/a.png', 'x/b.png'], ('near', 'far'), None),
    (['a.png', 'b.png', 'c.png'], ('other', 'near', 'far'), None),
    (['c.png', 'd.png'], ('near', 'far'), "id 0 of 'a.png' is that of "
     "'c.png' there"),
    (['a.png'], ('near', 'far'), "id 1 of 'b.png' is that of no image"),
    (['a.png', 'b.png'], ('far', 'near'), 'it has the classes (far, near), '
     'the other (near, far)'),
])
def test_the_json_of_the_metric_is_that_of_the_dataset(
        tmp_path, files, categories, message):
    from mmdet.evaluation import CocoMetric

    from mwam_mm.datasets import MultiModalCocoDataset
    dataset = MultiModalCocoDataset(
        ann_file=write_coco(tmp_path / 'data.json', ['a.png', 'b.png']))
    path = write_coco(tmp_path / 'truth.json', files, categories)
    runner = types.SimpleNamespace(
        cfg=dict(test_evaluator=[dict(type='DumpResults'),
                                 dict(type='CocoMetric', ann_file=path)]),
        model=torch.nn.Identity())
    loop = TestLoop.__new__(TestLoop)
    loop._dataloader = types.SimpleNamespace(dataset=dataset)
    loop.dataloader = loop._dataloader
    loop.evaluator = types.SimpleNamespace(
        metrics=[object(), CocoMetric(ann_file=path)])
    if message is None:
        check_runner(runner, dict(test=loop))
        own = types.SimpleNamespace(
            ann_file=str(tmp_path / 'own.json'), metainfo={})
        (tmp_path / 'own.json').write_text('{"data_list": []}')
        loop.dataloader.dataset = own  # of another format than COCO's
        check_runner(runner, dict(test=loop))
        return
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        check_runner(runner, dict(test=loop))
    assert f'test_evaluator.ann_file={path!r}' in str(caught.value)
    assert repr(dataset.ann_file) in str(caught.value)
