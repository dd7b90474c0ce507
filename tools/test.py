"""Test a checkpoint.

``--missing`` and ``--combinations`` are shorthands for the test-time config:
a fixed set of absent modalities, or a table over sets of present ones.
"""
import argparse
from typing import Iterator, List, Sequence

from mmengine.config import Config, ConfigDict
from mmengine.runner import TestLoop

from mwam_mm.cli import (
    add_common_arguments,
    build_runner,
    load_config,
    load_safely,
)
from mwam_mm.config import type_name, walk_dicts, wrapped_datasets
from mwam_mm.convert.pipeline import MULTIMODAL
from mwam_mm.engine.combinations import parse_combinations
from mwam_mm.evaluation import keep_everything
from mwam_mm.layout import ModalityLayout, combination_name


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config', help='path of the config')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument(
        '--missing',
        action='append',
        metavar='MODALITY',
        help='test with this modality absent from every sample; repeat it for '
        'several. Where modalities are optional, samples that lack all others '
        'are left out')
    parser.add_argument(
        '--combinations',
        metavar='all|NAME+NAME,NAME,...',
        help='test these combinations of present modalities in one pass over '
        'the data, e.g. rgb,rgb+depth, or all of them')
    parser.add_argument(
        '--out',
        help='save the predictions: FILE.pkl for all in one pickle, else a '
        'directory for one label map per image (segmentation only), which '
        'keeps the folders of the images. Several combinations have a folder '
        'each beside it or in it')
    parser.add_argument(
        '--show', action='store_true', help='show the predictions in a window')
    parser.add_argument(
        '--show-dir',
        help='save images with the predictions painted on them; of a detector '
        "the directory lies in the run's, as in MMDetection")
    parser.add_argument(
        '--wait-time',
        type=float,
        default=2,
        help='seconds that --show shows an image')
    parser.add_argument(
        '--tta',
        action='store_true',
        help="test-time augmentation by the config's tta_model and "
        'tta_pipeline')
    add_common_arguments(parser)
    return parser


def model_layout(cfg: Config) -> ModalityLayout:
    """The modalities of the config's model."""
    # The builder mwam_mm.multimodal has them itself.
    for part in (cfg.model, cfg.model.get('data_preprocessor') or {}):
        if 'modalities' in part:
            return ModalityLayout(part['modalities'])
    raise ValueError('--missing and --combinations need a multimodal config, '
                     'but this one has no '
                     'model.data_preprocessor.modalities')


def datasets_with_pipeline(dataset: ConfigDict) -> Iterator[ConfigDict]:
    """The datasets, within any wrappers, whose pipeline runs last."""
    wrapped = wrapped_datasets(dataset)
    if 'pipeline' in dataset:
        yield dataset
    elif wrapped:
        for inner in wrapped:
            yield from datasets_with_pipeline(inner)
    else:
        raise ValueError('--missing and --tta change the test pipeline, but '
                         f'the {type_name(dataset)} of test_dataloader has '
                         'no pipeline')


def use_stock_loop(cfg: Config) -> None:
    """Test once; a missing-modality loop would go on to its combinations."""
    cfg.test_cfg = dict(
        type='TestLoop', fp16=cfg.test_cfg.get('fp16', False))


def augmented(pipeline: List[dict], tta_pipeline: List[dict]) -> List[dict]:
    """The test pipeline with test-time augmentation.

    What ``mwam_mm.multimodal`` makes of the stock pipeline it makes of the
    stock augmentation, too, unless the config has done so.
    """
    kinds = [type_name(step) for _, step in walk_dicts(list(tta_pipeline))]
    if not {'LoadModalities', *MULTIMODAL} & set(kinds):
        for i, step in enumerate(pipeline):
            if type_name(step) in MULTIMODAL:
                return [
                    *pipeline[:i],
                    dict(step, transforms=tta_pipeline), *pipeline[i + 1:]
                ]
    return tta_pipeline


def use_tta(cfg: Config) -> None:
    """Wrap the model, and load, for test-time augmentation."""
    for key in ('tta_model', 'tta_pipeline'):
        if key not in cfg:
            raise ValueError(f'--tta needs {key} in the config')
    for dataset in datasets_with_pipeline(cfg.test_dataloader.dataset):
        dataset['pipeline'] = augmented(dataset['pipeline'], cfg.tta_pipeline)
    cfg.model = dict(**cfg.tta_model, module=cfg.model)
    use_stock_loop(cfg)


def set_missing(cfg: Config,
                names: Sequence[str],
                layout: ModalityLayout,
                tta: bool = False) -> None:
    """Test with modalities absent from every sample.

    If modalities are optional, the others become the one combination of a
    missing-modality loop, which leaves out samples that have none of them.

    Args:
        cfg (Config): Config to change.
        names (Sequence[str]): The absent modalities.
        layout (ModalityLayout): The model's modalities.
        tta (bool): Whether the test augments its images, which these loops
            cannot. Defaults to False.

    Raises:
        ValueError: If a name is unknown or no modality would be left.
    """
    absent = list(layout.check_names(names, '--missing'))
    if len(absent) == len(layout):
        raise ValueError(f'--missing names all modalities ({absent}): at '
                         'least one must be present')
    if any(m.optional for m in layout.values()) and not tta:
        # Samples that lack the others as well are left out.
        present = [name for name in layout if name not in absent]
        set_combinations(cfg, combination_name(present), layout)
        # Their rows are about all modalities together.
        cfg.test_cfg.pop('faults', None)
        return
    drop = dict(type='mwam_mm.DropModality', modalities=absent)
    for dataset in datasets_with_pipeline(cfg.test_dataloader.dataset):
        dataset['pipeline'] = [*dataset['pipeline'], drop]
    use_stock_loop(cfg)


def set_combinations(cfg: Config, text: str, layout: ModalityLayout) -> None:
    """Test combinations of present modalities.

    Args:
        cfg (Config): Config to change. The options of a missing-modality
            test loop that it already has, such as ``metric``, stay.
        text (str): ``'all'``, or names joined by ``+``, separated by commas.
        layout (ModalityLayout): The model's modalities.

    Raises:
        ValueError: If a name is unknown or comes twice, or a combination is
            empty or comes twice.
    """
    combinations = text if text == 'all' else [
        list(names) for names in parse_combinations(
            text.split(','), layout, '--combinations')
    ]
    if type_name(cfg.test_cfg) == 'MissingModalityTestLoop':
        cfg.test_cfg.combinations = combinations
    else:
        cfg.test_cfg = {
            'fp16': False,
            **cfg.test_cfg, 'type': 'mwam_mm.MissingModalityTestLoop',
            'combinations': combinations
        }


def save_predictions(cfg: Config, out: str) -> None:
    """Let the evaluator save the predictions to ``out``."""
    metrics = cfg.test_evaluator
    if not isinstance(metrics, (list, tuple)):
        metrics = [metrics]
    if out.endswith(('.pkl', '.pickle')):
        dump = dict(type='DumpResults', out_file_path=out)
        cfg.test_evaluator = [*metrics, dump]
        return
    metrics = [m for m in metrics if type_name(m) == 'IoUMetric']
    if not metrics:
        raise ValueError(f'--out {out} is a directory, for the label maps of '
                         'an IoUMetric, but test_evaluator has none: give a '
                         'file name that ends in .pkl')
    for metric in metrics:
        metric['output_dir'] = out


def draw_predictions(cfg: Config, args: argparse.Namespace) -> None:
    """Let the visualization hook paint the predictions."""
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None or 'visualizer' not in cfg:
        raise ValueError('--show and --show-dir need a visualizer and '
                         'default_hooks.visualization (SegVisualizationHook '
                         'or DetVisualizationHook) in the config')
    if type_name(hook) == 'VisualizationHook':
        # It draws an image of three channels, and nothing unless enabled.
        raise ValueError('--show and --show-dir draw label maps and boxes, '
                         'but the VisualizationHook of classification does '
                         'not know several modalities: '
                         'mwam_mm.apis.MultiModalInferencer draws them with '
                         'their labels, and --out FILE.pkl saves the scores')
    hook['draw'] = True
    if args.show:
        hook['show'] = True
        hook['wait_time'] = args.wait_time
    if args.show_dir:
        if type_name(hook) == 'DetVisualizationHook':
            hook['test_out_dir'] = args.show_dir
        else:
            cfg.visualizer['save_dir'] = args.show_dir


def apply_args(cfg: Config, args: argparse.Namespace) -> None:
    """Change ``cfg`` as the flags of testing say.

    Raises:
        ValueError: If a flag does not fit the config or another flag.
    """
    cfg.load_from = args.checkpoint
    # The config of a run that was resumed says so, which would ask for the
    # data of the training and take up its state.
    cfg.resume = False
    if args.combinations and args.missing:
        raise ValueError('--missing and --combinations exclude each other: '
                         '--combinations already tests absent modalities')
    if args.combinations and args.tta:
        raise ValueError('--combinations cannot share features between '
                         'augmented views: use --tta with --missing, once per '
                         'combination')
    layout = model_layout(cfg) if args.missing or args.combinations else None
    if args.tta:
        use_tta(cfg)
    if args.missing:
        set_missing(cfg, args.missing, layout, args.tta)
    if args.combinations:
        set_combinations(cfg, args.combinations, layout)
    if args.out:
        save_predictions(cfg, args.out)
    if args.show or args.show_dir:
        draw_predictions(cfg, args)


def main() -> None:
    parser = build_parser()
    args = parser.parse_args()
    load_safely()
    cfg = load_config(args)
    try:
        apply_args(cfg, args)
    except ValueError as error:
        parser.error(str(error))
    runner = build_runner(cfg)
    loop = runner.test_loop
    if isinstance(loop, TestLoop):
        keep_everything(loop.evaluator, loop.dataloader.dataset)
    runner.test()


if __name__ == '__main__':
    main()
