"""Tests of tools/test.py."""
import pytest
from mmengine.config import Config

from mwam_mm.registry import LOOPS, TRANSFORMS

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


def test_only_the_checkpoint_without_flags(test):
    cfg, before = config(), config().to_dict()
    test.apply_args(cfg, parse(test))
    assert cfg.to_dict() == dict(before, load_from='c.pth')


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
