"""Tests of tools/test.py."""
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mwam_mm.registry import LOOPS, MODELS, TRANSFORMS

MODALITIES = dict(
    rgb=dict(channels=3), depth=dict(channels=1), thermal=dict(channels=1))
PIPELINE = [dict(type='mwam_mm.LoadModalities'), dict(type='PackSegInputs')]


@pytest.fixture
def test(load_tool):
    return load_tool('test')


def parse(tool, *flags):
    return tool.build_parser().parse_args(['c.py', 'c.pth', *flags])


def config(**changes):
    cfg = dict(
        model=dict(
            type='EncoderDecoder',
            data_preprocessor=dict(modalities=MODALITIES)),
        test_dataloader=dict(
            dataset=dict(type='PotholesDataset', pipeline=PIPELINE)),
        test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
        test_cfg=dict(type='TestLoop'),
        visualizer=dict(type='SegLocalVisualizer'),
        default_hooks=dict(
            visualization=dict(type='SegVisualizationHook', draw=False)))
    cfg.update(changes)
    return Config(cfg)


def drop(*names):
    return dict(type='mwam_mm.DropModality', modalities=list(names))


def test_flags_of_mmsegmentation(test):
    args = parse(test, '--work-dir', 'w', '--out', 'o', '--show',
                 '--show-dir', 's', '--wait-time', '0.5', '--tta',
                 '--launcher', 'slurm', '--local-rank', '1', '--cfg-options',
                 'a=1')
    assert (args.config, args.checkpoint) == ('c.py', 'c.pth')
    assert (args.work_dir, args.out, args.show_dir) == ('w', 'o', 's')
    assert args.show and args.tta and args.wait_time == 0.5
    assert (args.launcher, args.local_rank) == ('slurm', 1)
    assert args.cfg_options == dict(a=1)


@pytest.mark.parametrize('resumed', [False, True])
def test_only_the_checkpoint_without_flags(test, resumed):
    cfg, before = config(), config().to_dict()
    cfg.resume = resumed  # as the dumped config of the training has it
    test.apply_args(cfg, parse(test))
    assert cfg.to_dict() == dict(before, load_from='c.pth', resume=False)


def test_missing(test):
    cfg = config(
        test_cfg=dict(type='mwam_mm.MissingModalityTestLoop', fp16=True))
    test.apply_args(cfg, parse(test, '--missing', 'thermal', '--missing',
                               'depth'))
    assert cfg.test_dataloader.dataset.pipeline == [
        *PIPELINE, drop('depth', 'thermal')
    ]
    assert cfg.test_cfg == dict(type='TestLoop', fp16=True)


def test_missing_where_modalities_are_optional(test):
    """Samples that lack the others are left out, as by --combinations."""
    modalities = dict(MODALITIES, depth=dict(channels=1, optional=True))
    cfg = config(
        model=dict(data_preprocessor=dict(modalities=modalities)),
        test_cfg=dict(type='TestLoop', fp16=True))
    test.apply_args(cfg, parse(test, '--missing', 'rgb'))
    assert cfg.test_cfg == dict(
        type='mwam_mm.MissingModalityTestLoop',
        combinations=[['depth', 'thermal']],
        fp16=True)
    assert cfg.test_dataloader.dataset.pipeline == PIPELINE
    # Faults would be of all modalities together, the missing one included.
    cfg.test_cfg = dict(
        type='mwam_mm.MissingModalityTestLoop', metric='mIoU', faults='all')
    test.apply_args(cfg, parse(test, '--missing', 'rgb'))
    assert cfg.test_cfg == dict(
        type='mwam_mm.MissingModalityTestLoop',
        metric='mIoU',
        combinations=[['depth', 'thermal']])


def test_missing_builds(test):
    cfg = config()
    test.apply_args(cfg, parse(test, '--missing', 'depth'))
    transform = TRANSFORMS.build(cfg.test_dataloader.dataset.pipeline[-1])
    assert tuple(transform.modalities) == ('depth', )


def test_missing_reaches_into_dataset_wrappers(test):
    inner = dict(type='PotholesDataset', pipeline=PIPELINE)
    cfg = config(
        test_dataloader=dict(
            dataset=dict(
                type='ConcatDataset',
                datasets=[
                    inner,
                    dict(type='RepeatDataset', times=1, dataset=inner),
                ])))
    test.apply_args(cfg, parse(test, '--missing', 'rgb'))
    first, second = cfg.test_dataloader.dataset.datasets
    for dataset in (first, second.dataset):
        assert dataset.pipeline == [*PIPELINE, drop('rgb')]


def test_missing_goes_to_the_wrapper_that_packs(test):
    inner = dict(type='CocoDataset', pipeline=PIPELINE[:1])
    cfg = config(
        test_dataloader=dict(
            dataset=dict(
                type='MultiImageMixDataset',
                dataset=inner,
                pipeline=PIPELINE[1:])))
    test.apply_args(cfg, parse(test, '--missing', 'rgb'))
    dataset = cfg.test_dataloader.dataset
    assert dataset.pipeline == [*PIPELINE[1:], drop('rgb')]
    assert dataset.dataset.pipeline == PIPELINE[:1]


def test_missing_leaves_validation_alone(test):
    loader = dict(dataset=dict(type='PotholesDataset', pipeline=PIPELINE))
    cfg = config(val_dataloader=loader, test_dataloader=loader)
    test.apply_args(cfg, parse(test, '--missing', 'rgb'))
    assert cfg.val_dataloader.dataset.pipeline == PIPELINE


@pytest.mark.parametrize('flags, message', [
    (['--missing', 'dpeth'],
     r"--missing names \['dpeth'\].*\['rgb', 'depth', 'thermal'\]"),
    (['--combinations', 'rgb,rgb+dpeth'],
     r"--combinations.*\['dpeth'\].*\['rgb', 'depth', 'thermal'\]"),
    (['--missing', 'rgb', '--missing', 'depth', '--missing', 'thermal'],
     '--missing names all modalities'),
    (['--combinations', 'rgb+depth,depth+rgb'], '--combinations.*repeats'),
    (['--combinations', 'rgb,'], '--combinations'),
    (['--missing', 'rgb', '--combinations', 'all'], 'exclude each other'),
    (['--tta', '--combinations', 'all'], '--tta with --missing'),
    (['--tta'], '--tta needs tta_model'),
])
def test_errors(test, flags, message):
    with pytest.raises(ValueError, match=message):
        test.apply_args(config(), parse(test, *flags))


@pytest.mark.parametrize('preprocessor', [None, dict(type='X')])
def test_modalities_are_needed(test, preprocessor):
    cfg = config(model=dict(data_preprocessor=preprocessor))
    for flags in (['--missing', 'rgb'], ['--combinations', 'all']):
        with pytest.raises(ValueError, match='data_preprocessor.modalities'):
            test.apply_args(cfg, parse(test, *flags))


def test_missing_needs_a_pipeline(test):
    cfg = config(test_dataloader=dict(dataset=dict(type='Odd')))
    with pytest.raises(ValueError, match='Odd.*no pipeline'):
        test.apply_args(cfg, parse(test, '--missing', 'rgb'))


@pytest.mark.parametrize('text, expected', [
    ('all', 'all'),
    ('rgb', [['rgb']]),
    ('rgb,depth+rgb', [['rgb', 'depth'], ['rgb']]),
])
def test_combinations(test, text, expected):
    cfg = config(test_cfg=dict(type='TestLoop', fp16=True))
    test.apply_args(cfg, parse(test, '--combinations', text))
    assert cfg.test_cfg == dict(
        type='mwam_mm.MissingModalityTestLoop',
        combinations=expected,
        fp16=True)
    assert LOOPS.get(cfg.test_cfg.type) is not None
    assert cfg.test_dataloader.dataset.pipeline == PIPELINE


def test_combinations_keep_the_options_of_the_loop(test):
    loop = dict(
        type='mwam_mm.MissingModalityTestLoop',
        combinations='all',
        metric='mAcc')
    cfg = config(test_cfg=loop)
    test.apply_args(cfg, parse(test, '--combinations', 'rgb'))
    assert cfg.test_cfg == dict(loop, combinations=[['rgb']])


def test_combinations_with_the_default_loop(test):
    cfg = config(test_cfg=dict())
    test.apply_args(cfg, parse(test, '--combinations', 'all'))
    assert cfg.test_cfg.type == 'mwam_mm.MissingModalityTestLoop'


def test_tta(test):
    tta_pipeline = [dict(type='LoadImageFromFile'), dict(type='TestTimeAug')]
    cfg = config(tta_model=dict(type='SegTTAModel'), tta_pipeline=tta_pipeline)
    model = cfg.model
    test.apply_args(cfg, parse(test, '--tta', '--missing', 'depth'))
    assert cfg.model == dict(type='SegTTAModel', module=model)
    assert cfg.test_dataloader.dataset.pipeline == [
        *tta_pipeline, drop('depth')
    ]
    assert cfg.tta_pipeline == tta_pipeline
    cfg = config(
        tta_model=dict(type='SegTTAModel'),
        tta_pipeline=tta_pipeline,
        test_cfg=dict(type='mwam_mm.MissingModalityTestLoop', fp16=True))
    test.apply_args(cfg, parse(test, '--tta'))
    assert cfg.test_cfg == dict(type='TestLoop', fp16=True)


def test_out_directory(test):
    coco = dict(type='CocoMetric')
    cfg = config(test_evaluator=[coco, dict(type='mmseg.IoUMetric')])
    test.apply_args(cfg, parse(test, '--out', 'maps'))
    assert cfg.test_evaluator == [
        coco, dict(type='mmseg.IoUMetric', output_dir='maps')
    ]
    with pytest.raises(ValueError, match='--out maps.*pkl'):
        test.apply_args(
            config(test_evaluator=coco), parse(test, '--out', 'maps'))


@pytest.mark.parametrize('several', [False, True])
def test_out_pickle(test, several):
    coco = dict(type='CocoMetric')
    cfg = config(test_evaluator=[coco] if several else coco)
    test.apply_args(cfg, parse(test, '--out', 'all.pkl'))
    assert cfg.test_evaluator == [
        coco, dict(type='DumpResults', out_file_path='all.pkl')
    ]


def test_show_of_a_segmentor(test):
    cfg = config()
    test.apply_args(
        cfg, parse(test, '--show', '--wait-time', '1', '--show-dir', 's'))
    assert cfg.default_hooks.visualization == dict(
        type='SegVisualizationHook', draw=True, show=True, wait_time=1)
    assert cfg.visualizer.save_dir == 's'


def test_show_of_a_detector(test):
    cfg = config(
        default_hooks=dict(visualization=dict(type='DetVisualizationHook')))
    test.apply_args(cfg, parse(test, '--show-dir', 's'))
    assert cfg.default_hooks.visualization == dict(
        type='DetVisualizationHook', draw=True, test_out_dir='s')
    assert 'save_dir' not in cfg.visualizer


def test_show_of_a_classifier_is_refused(test):
    cfg = config(
        default_hooks=dict(visualization=dict(type='VisualizationHook')))
    with pytest.raises(ValueError, match='MultiModalInferencer'):
        test.apply_args(cfg, parse(test, '--show-dir', 's'))


def test_show_needs_the_hook(test):
    with pytest.raises(ValueError, match='default_hooks.visualization'):
        test.apply_args(config(default_hooks=dict()), parse(test, '--show'))


def test_errors_are_short(exit_of_tool, write_config):
    path = write_config('model = dict(data_preprocessor=dict(modalities=dict('
                        'rgb=dict(channels=3), depth=dict(channels=1))))')
    code, said = exit_of_tool('test', path, 'c.pth', '--missing', 'dpeth')
    assert code == 2
    assert "error: --missing names ['dpeth']" in said
    assert "['rgb', 'depth']" in said


def recipe(root):
    """Config of a stock segmentor that is made multimodal, and of pairs."""
    rng = np.random.default_rng(0)
    for i in range(2):
        for folder, shape in (('rgb', (32, 40, 3)), ('depth', (32, 40)),
                              ('label', (32, 40))):
            (root / folder / f'set{i}').mkdir(parents=True, exist_ok=True)
            high = 2 if folder == 'label' else 255
            assert cv2.imwrite(
                str(root / folder / f'set{i}/I0.png'),
                rng.integers(0, high, shape, dtype=np.uint8))
    modalities = dict(
        rgb=dict(channels=3, mean=127, std=73, bgr_to_rgb=True),
        depth=dict(channels=1, mean=127, std=73))
    norm = dict(type='BN')
    base = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[0] * 3, std=[1] * 3,
            bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size=(32, 40)),
        backbone=dict(
            type='ResNet', depth=18, num_stages=2, strides=(1, 2),
            dilations=(1, 1), out_indices=(0, 1), base_channels=4,
            stem_channels=4, norm_cfg=norm),
        decode_head=dict(
            type='FCNHead', in_channels=8, in_index=1, channels=8,
            num_convs=1, num_classes=2, norm_cfg=norm, dropout_ratio=0),
        train_cfg=dict(), test_cfg=dict(mode='whole'))  # yapf: disable
    stock = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='PackSegInputs')
    ]
    return dict(
        default_scope='mmseg',
        work_dir=str(root / 'work'),
        log_level='WARNING',
        model=dict(
            type='mwam_mm.multimodal', base=base, modalities=modalities),
        test_dataloader=dict(
            batch_size=1,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(
                type='mwam_mm.MultiModalSegDataset',
                data_root=str(root),
                data_prefix=dict(
                    img_path='rgb', depth_path='depth',
                    seg_map_path='label'),
                img_suffix='.png',
                metainfo=dict(
                    classes=('a', 'b'), palette=[[0, 0, 0], [9, 9, 9]]),
                pipeline=[
                    dict(
                        type='mwam_mm.multimodal',
                        transforms=stock,
                        modalities=modalities)
                ])),
        test_evaluator=dict(type='IoUMetric'),
        test_cfg=dict(type='TestLoop'),
        tta_model=dict(type='SegTTAModel'),
        tta_pipeline=[
            stock[0],
            dict(
                type='TestTimeAug',
                transforms=[
                    [dict(type='Resize', scale_factor=1., keep_ratio=True)],
                    # Two equal views: the mean is that of one.
                    [dict(type='RandomFlip', prob=0.)] * 2,
                    stock[1:2],
                    stock[2:]
                ])
        ],
        default_hooks=dict(visualization=dict(type='SegVisualizationHook')),
        visualizer=dict(
            type='SegLocalVisualizer',
            vis_backends=[dict(type='LocalVisBackend')]))


def test_augmentation_and_folders_on_the_recipe(test, tmp_path, monkeypatch):
    cfg = recipe(tmp_path)
    Config(cfg).dump(str(tmp_path / 'job.py'))
    init_default_scope('mmseg')
    torch.manual_seed(0)
    torch.save(
        MODELS.build(cfg['model']).state_dict(), str(tmp_path / 'job.pth'))
    found = []

    def keep(self):
        metrics = stock_test(self)
        found.append((self, metrics))
        return metrics

    stock_test = Runner.test
    monkeypatch.setattr(Runner, 'test', keep)
    for flags in ([], ['--tta']):
        out, shown = tmp_path / f'out{flags}', tmp_path / f'shown{flags}'
        monkeypatch.setattr(sys, 'argv', [
            'test.py', str(tmp_path / 'job.py'), str(tmp_path / 'job.pth'),
            '--out', str(out), '--show-dir', str(shown), *flags,
            # MMEngine has one visualizer for all runs of one name, which two
            # that start within a second have.
            '--cfg-options', f'experiment_name=run{len(found)}'
        ])
        test.main()
        # Both files are called I0.png.
        for folder in (out, shown):
            assert {p.parent.name for p in folder.rglob('*I0.png*')} == {
                'set0', 'set1'}
    (plain, expected), (augmented, metrics) = found
    assert type(augmented.model).__name__ == 'SegTTAModel'
    assert metrics['mIoU'] == pytest.approx(expected['mIoU'])
    assert 10 < metrics['mIoU'] < 90
    assert not float(metrics['mIoU'] * 100).is_integer()


def test_augmentation_that_is_multimodal_already(test):
    """As docs/inherit.md said, or with LoadModalities written out."""
    load = dict(type='mwam_mm.multimodal', modalities=MODALITIES)
    pipeline = [dict(load, transforms=[dict(type='LoadImageFromFile')])]
    for own in ([dict(load, transforms=[])],
                [dict(type='mwam_mm.LoadModalities'),
                 dict(type='TestTimeAug', transforms=[])]):
        assert test.augmented(pipeline, own) == own
