"""Check the files of a config's datasets and print their statistics.

Reads every file of the splits as training would and prints, for each
modality, what goes into `modalities`: mean and standard deviation over the
valid pixels, in the units after `scale`. Fails if those of the config are of
other data, and notes a value that may mean "no measurement". Fails too if the
config's model has other modalities or another number of classes.
"""
import argparse
import os.path as osp
import sys
from typing import Dict, List, Sequence, Set, Tuple

import mmengine.fileio as fileio
from mmengine.config import Config
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import nn

from mwam_mm.cli import add_cfg_options, read_config
from mwam_mm.consistency import check_classes, check_layouts
from mwam_mm.datasets.inspection import DatasetInspection, inspect_dataset
from mwam_mm.registry import MODELS
from mwam_mm.tolerance import MAX_MEAN, STD_RANGE

SPLITS = ('train', 'val', 'test')


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        '--split',
        nargs='+',
        choices=SPLITS,
        default=SPLITS,
        help='whose datasets to check; by default all that the config has')
    add_cfg_options(parser)
    return parser


def inspect(split: str, dataset: dict) -> DatasetInspection:
    """Read a split; the progress is shown to people only."""
    steps = inspect_dataset(dataset)
    inspection = next(steps)
    with Progress(
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty()) as progress:
        for inspection in progress.track(
                steps, total=inspection.samples, description=split):
            pass
    return inspection


def numbers(values: Sequence[float]) -> str:
    """The numbers as a config has them."""
    text = ', '.join(f'{v:.4g}' for v in values)
    return text if len(values) == 1 else f'[{text}]'


def differs(config: Sequence[float], found: Sequence[float],
            std: Sequence[float]) -> bool:
    """Whether a statistic is off by more than a quarter deviation."""
    return any(
        abs(a - b) > 0.25 * s for a, b, s in zip(config, found, std))


def modality_table(inspection: DatasetInspection) -> Table:
    table = Table()
    for column in ('modality', 'files', 'type', 'range', 'invalid', 'mean',
                   'std', 'in the config'):
        table.add_column(column, overflow='fold')
    for name, found in inspection.modalities.items():
        given = found.modality
        if not found.has_values:
            table.add_row(name, str(sum(found.dtypes.values())),
                          ', '.join(found.dtypes), *5 * '-')
            continue
        note = 'fits'
        if differs(given.mean, found.mean, found.std) or differs(
                given.std, found.std, found.std):
            note = f'{numbers(given.mean)} / {numbers(given.std)}'
        table.add_row(
            name, str(sum(found.dtypes.values())), ', '.join(found.dtypes),
            '{:.4g} to {:.4g}'.format(*found.range),
            f'{found.invalid_share:.2%}', numbers(found.mean),
            numbers(found.std), note)
    return table


def print_split(console: Console, split: str,
                inspection: DatasetInspection) -> None:
    """Print what was found in a split."""
    sizes = ', '.join(f'{h} x {w} ({n})' for (h, w), n in
                      inspection.sizes.most_common(3))
    if len(inspection.sizes) > 3:
        sizes += f' and {len(inspection.sizes) - 3} more'
    console.print(f'\n[bold]{split}[/]: {inspection.samples} samples, '
                  f'{len(inspection.problems)} of them bad')
    for key, paths in inspection.files.items():
        console.print(f'  {key}: {len(paths)} files')
    if not inspection.sizes:
        return
    console.print(f'  height x width: {sizes}')
    console.print(modality_table(inspection))
    if inspection.boxes is not None:
        console.print('  boxes: ' + ', '.join(
            f'{name} {count}' for name, count in inspection.boxes.items())
                      + f'; {inspection.ignored_boxes} to ignore, '
                      f'{inspection.without_boxes} samples without any')
    if inspection.labels.any():
        shares = inspection.class_shares()
        ignored = 1 - inspection.labels[:len(shares)].sum() / (
            inspection.labels.sum())
        console.print('  classes: ' + ', '.join(
            f'{name} {share:.2%}' for name, share in shares.items()))
        console.print(f'  ignored: {ignored:.2%} of all pixels')


def print_modalities(console: Console,
                     inspection: DatasetInspection) -> None:
    """Print the statistics as a config takes them."""
    console.print('\nStatistics for the config, or for one that inherits:')
    lines = [
        f'    {name}=dict(mean={numbers(found.mean)}, '
        f'std={numbers(found.std)}),'
        for name, found in inspection.modalities.items() if found.has_values
    ]
    console.print(
        '\n'.join(['modalities = dict(', *lines, ')']),
        markup=False,
        highlight=False,
        soft_wrap=True)


def never_there(inspection: DatasetInspection) -> List[str]:
    """Optional modalities that no sample has, and those of holes only."""
    if not inspection.sizes:
        return []
    return [
        f'no sample has a measurement of {name}. If there are to be any, '
        'correct the folder or the suffix of its files, or its invalid_value'
        for name, found in inspection.modalities.items()
        if not found.has_values
    ]


def false_colours(inspection: DatasetInspection) -> List[str]:
    """Modalities of one channel whose files are in colour."""
    return [
        f'{len(found.coloured)} files of {name} are in colour, of which '
        f'file_channels={list(found.modality.file_channels)} takes one '
        'channel. If the colours stand for a value, that is no measurement: '
        f'convert the files. The first is {found.coloured[0]!r}'
        for name, found in inspection.modalities.items() if found.coloured
    ]


def repeated_values(inspection: DatasetInspection) -> List[str]:
    """What to set where one value may mean "no measurement"."""
    notes = []
    for name, found in inspection.modalities.items():
        if found.repeated is None:
            continue
        value, share = found.repeated
        values = [*found.modality.invalid_value, value]
        setting = ', '.join(f'{v:.10g}' for v in values)
        if len(values) > 1:
            setting = f'[{setting}]'
        notes.append(
            f'{share:.0%} of the pixels of {name} are exactly {value:.10g}. '
            'If that means "no measurement", set '
            f"modalities['{name}'].invalid_value={setting}: otherwise it "
            'counts in the statistics and in MWAM\'s balance')
    return notes


def mixed_types(inspection: DatasetInspection) -> List[str]:
    """Modalities whose files differ in their units, by all appearances."""
    mixed = []
    for name, found in inspection.modalities.items():
        if len(found.dtypes) > 1:
            rare = min(found.dtypes, key=found.dtypes.get)
            counts = ', '.join(
                f'{count} of {dtype}'
                for dtype, count in found.dtypes.most_common())
            mixed.append(
                f'the files of {name} are {counts}: the same number means '
                f'different things in them. The first of {rare} is '
                f'{found.first_of_type[rare]!r}. Convert the files to one '
                'type')
    return mixed


def wrong_statistics(inspection: DatasetInspection) -> List[str]:
    """Modalities whose mean and std in the config are not of these data."""
    return [
        f"modalities['{name}'] has mean={numbers(found.modality.mean)}, "
        f'std={numbers(found.modality.std)}, but the data have '
        f'mean={numbers(found.mean)}, std={numbers(found.std)}. Correct '
        'them, or the scale'
        for name, found in inspection.modalities.items()
        if found.far_from_config()
    ]


def build_model(cfg: Config) -> Tuple[nn.Module, str]:
    """The config's model, or another one and a note that says why."""
    if cfg.get('model') is None:
        return nn.Identity(), ''
    try:
        return MODELS.build(cfg.model), ''
    except Exception as error:
        # The files are to be checked all the same.
        return nn.Identity(), (
            'the model cannot be built, so it is not compared with the data: '
            f'{error}')


def misfits_of(split: str, inspection: DatasetInspection, model: nn.Module,
               cfg: Config) -> List[str]:
    """Where the pipeline or the classes of a split do not fit the model."""
    where = f'{split}_dataloader.dataset'
    misfits = []
    for check in (
            lambda: check_layouts(model, cfg, [
                (f'{where}.pipeline.modalities', 'LoadModalities',
                 inspection.layout)]),
            lambda: check_classes(model, cfg, inspection.classes, where)):
        try:
            check()
        except ValueError as error:
            misfits.append(str(error))
    return misfits


def unused_files(used: Dict[str, Set[str]]) -> Dict[str, List[str]]:
    """Files beside the used ones, of the same kind, that no split uses."""
    unused = {}
    for key, paths in used.items():
        found = {
            osp.join(folder, name)
            for folder, suffix in {(osp.dirname(p), osp.splitext(p)[1])
                                   for p in paths}
            for name in fileio.list_dir_or_file(folder, list_dir=False)
            if name.lower().endswith(suffix.lower())
        }
        if found - paths:
            unused[key] = sorted(found - paths)
    return unused


def main() -> None:
    parser = build_parser()
    args = parser.parse_args()
    cfg = read_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    # Wide enough for a report that is read later.
    console = Console(width=None if sys.stdout.isatty() else 120)

    model, note = build_model(cfg)
    used: Dict[str, Set[str]] = {}
    problems: List[str] = []
    wrong: List[str] = []
    notes: List[str] = [note] if note else []
    misfits: List[str] = []
    checked: List[dict] = []
    for split in args.split:
        dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset')
        # Most configs test on what they validate on.
        if dataset is None or dataset in checked:
            continue
        checked.append(dataset)
        try:
            inspection = inspect(split, dataset)
        except (OSError, ValueError) as error:
            parser.exit(1, f'{split}: {error}\n')
        print_split(console, split, inspection)
        if split == 'train' and inspection.sizes:
            print_modalities(console, inspection)
        misfits += misfits_of(split, inspection, model, cfg)
        misfits += [f'{split}: {m}' for m in mixed_types(inspection)]
        problems += [f'{split}: {p}' for p in inspection.problems]
        wrong += [f'{split}: {w}' for w in wrong_statistics(inspection)]
        notes += [
            f'{split}: {n}' for n in
            [*never_there(inspection), *false_colours(inspection),
             *repeated_values(inspection)]
        ]
        for key, paths in inspection.files.items():
            used.setdefault(key, set()).update(paths)
    if not checked:
        parser.error(f'{args.config} has no dataset for {list(args.split)}')

    for note in notes:
        console.print(f'note: {note}', markup=False, highlight=False)
    if not problems and len(args.split) == len(SPLITS):
        for key, paths in unused_files(used).items():
            console.print(f'note: {len(paths)} files beside those of {key} '
                          f'are in no split, the first is {paths[0]!r}')
    message = ''.join(f'\n{misfit}\n' for misfit in misfits)
    if wrong:
        message += (
            '\nmean or std in the config are of other data (normalised by '
            f'them, the mean is beyond +-{MAX_MEAN} or the std outside '
            f'{STD_RANGE[0]} to {STD_RANGE[1]}):\n'
            + ''.join(f'  {w}\n' for w in wrong))
    if problems:
        message += (f'\n{len(problems)} bad samples, the first:\n'
                    + ''.join(f'  {p}\n' for p in problems[:5]))
    if message:
        parser.exit(1, message)
    console.print('\nNo bad file found; see the notes.' if notes else
                  '\nNo problem found.')


if __name__ == '__main__':
    main()
