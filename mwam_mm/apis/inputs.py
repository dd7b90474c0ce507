"""The samples that a user names, modality by modality."""
import os
import os.path as osp
from pathlib import Path
from typing import Dict, List, Mapping, Sequence, Union

import mmengine.fileio as fileio
import numpy as np
from mmengine.config import Config

from mwam_mm.config import dataset_of_tests
from mwam_mm.datasets.file_names import FileNames
from mwam_mm.layout import ModalityLayout

__all__ = [
    'Sample', 'check_sample', 'check_no_input_in', 'is_folders',
    'list_folders', 'names_of_files', 'out_names'
]

# Modality to its file or array; a modality that is absent is left out.
Sample = Dict[str, Union[str, np.ndarray]]

_SUFFIXES = ('.png', '.jpg', '.jpeg', '.tif', '.tiff', '.bmp', '.webp',
             '.npy', '.npz')


def check_sample(sample: Mapping, layout: ModalityLayout,
                 where: str) -> Sample:
    """Check that a sample names modalities and files that exist.

    Args:
        sample (Mapping): Modality to its path, or to an array. None counts as
            left out.
        layout (ModalityLayout): The modalities.
        where (str): How error messages call the sample.

    Returns:
        dict: The sample in the order of the layout, paths as strings.

    Raises:
        TypeError: If it is no mapping, or a value neither a path nor a plain
            array.
        ValueError: If it has no modality or an unknown one, or two that share
            a file have different ones.
        FileNotFoundError: If a file does not exist.
    """
    if not isinstance(sample, Mapping):
        raise TypeError(
            f'{where} must be a dict from modality to file or array, such as '
            f'{dict.fromkeys(layout, "a.png")}, but is {sample!r}')
    given = [name for name, value in sample.items() if value is not None]
    checked: Sample = {}
    files: dict = {}
    for name in layout.check_names(given, where):
        value = sample[name]
        if isinstance(value, (str, Path)):
            value = os.fspath(value)
            if not fileio.exists(value):
                raise FileNotFoundError(
                    f'{where}: modality {name!r}: {value!r} does not exist. '
                    'Correct the path, or leave the modality out if the '
                    'sample has none')
        elif isinstance(value, np.ma.MaskedArray):
            raise TypeError(
                f'{where}: modality {name!r} is a masked array: give '
                'array.filled(value), with a value that '
                f'modalities[{name!r}].invalid_value has')
        elif not isinstance(value, np.ndarray):
            raise TypeError(
                f'{where}: modality {name!r} must be a path or an array, but '
                f'is of type {type(value).__name__}')
        key = layout[name].path_key
        first, other = files.setdefault(key, (name, value))
        if other is not value and not (isinstance(value, str)
                                       and value == other):
            raise ValueError(
                f'{where}: the modalities {first!r} and {name!r} lie in one '
                f'file (path_key={key!r}), but have different ones')
        checked[name] = value
    if not checked:
        raise ValueError(f'{where} has no modality: give at least one of '
                         f'{list(layout)}')
    return checked


def check_no_input_in(folders: Sequence[str],
                      samples: Sequence[Sample]) -> None:
    """Check that no file of a sample lies where outputs are written.

    An output with the name of an input would take its place, and what was
    written before would be predicted as an input.

    Args:
        folders (Sequence[str]): Where outputs are written.
        samples (Sequence[dict]): The samples.

    Raises:
        ValueError: If a file lies in one of the folders.
    """
    places = {folder: osp.join(osp.realpath(folder), '') for folder in folders}
    for sample in samples:
        for name, value in sample.items():
            if not isinstance(value, str):
                continue
            # The folder of a link counts: it is the link that is replaced.
            home = osp.join(osp.realpath(osp.dirname(value)), '')
            for folder, place in places.items():
                if home.startswith(place):
                    raise ValueError(
                        f'modality {name!r}: {value!r} lies in {folder!r}, '
                        'where the outputs are written: name another out_dir')


def is_folders(sample: Sample) -> bool:
    """Whether a sample names folders rather than files.

    Raises:
        ValueError: If it names both.
    """
    folders = [
        name for name, value in sample.items()
        if isinstance(value, str) and osp.isdir(value)
    ]
    if folders and len(folders) < len(sample):
        raise ValueError(
            f'the modalities {folders} have folders, but '
            f'{[n for n in sample if n not in folders]} have not: give '
            'folders for all, or files for all')
    return bool(folders)


def names_of_files(cfg: Config, layout: ModalityLayout) -> FileNames:
    """How the files of the config's test dataset are called.

    Args:
        cfg (Config): The config, whose :func:`dataset_of_tests` counts.
        layout (ModalityLayout): The modalities.

    Returns:
        FileNames: By path key, that of label maps included, from the
        dataset's ``file_names``, or ``modality_suffix``, ``img_suffix`` and
        ``seg_map_suffix``. Empty if it has none of them.
    """
    dataset = dataset_of_tests(cfg)
    patterns = dataset.get('file_names') or {}
    suffixes = {
        'seg_map_path': dataset.get('seg_map_suffix'),
        **(dataset.get('modality_suffix') or {})
    }
    keys = [*(m.path_key for m in layout.values()), 'seg_map_path']
    if patterns:
        # A key without a pattern has the image's.
        found = {
            key: patterns.get(key, patterns.get('img_path'))
            for key in keys
        }
    else:
        found = {
            key: suffixes.get(key, dataset.get('img_suffix'))
            for key in keys
        }
        found = {k: v and '{}' + v for k, v in found.items()}
    return FileNames({k: v for k, v in found.items() if v})


def list_folders(folders: Sample,
                 layout: ModalityLayout,
                 file_names: FileNames = FileNames({})) -> Dict[str, Sample]:
    """Match the files of folders.

    Files belong together if they have the same path without the suffix. Of
    a file that is called as those of the config's dataset, what its name has
    in common with the others counts: ``rgb_0001.jpg`` and
    ``depth_0001.png`` match by ``rgb_{}.jpg`` and ``depth_{}.png``, also
    within one folder: one that is called as another modality's, or as a label
    map, does not count.

    Args:
        folders (dict[str, str]): Modality to its folder, which may have
            subfolders.
        layout (ModalityLayout): The modalities. Only the file of an
            ``optional`` one may be missing.
        file_names (FileNames): The patterns by path key, see
            :func:`names_of_files`. Defaults to none.

    Returns:
        dict[str, dict[str, str]]: Path without suffix of the first file,
        relative to its folder, to the sample, in the order of what the names
        have in common.

    Raises:
        FileNotFoundError: If a folder has no image, or a file that its
            modality must have is missing.
        ValueError: If two files of a folder belong to one sample, or two
            samples would have the same name.
    """
    found = {
        name: _images(folder, file_names, layout[name].path_key)
        for name, folder in folders.items()
    }
    stems = sorted(set().union(*found.values()))
    common = set.intersection(*map(set, found.values()))
    for name, files in found.items():
        missing = [stem for stem in stems if stem not in files]
        if missing and not (layout[name].optional and common):
            raise FileNotFoundError(
                f'modality {name!r}: {folders[name]!r} has no file for '
                f'{len(missing)} of {len(stems)} samples, such as '
                f'{missing[0]!r}. Files are matched by their path without '
                'suffix, or by file_names of the config\'s test dataset: '
                'rename them, set file_names, give a list of dicts of files, '
                f'or set modalities[{name!r}].optional=True in the config if '
                'samples may lack it')
    samples: Dict[str, Sample] = {}
    for stem in stems:
        sample = {n: files[stem] for n, files in found.items()
                  if stem in files}
        first, path = next(iter(sample.items()))
        name = osp.splitext(osp.relpath(path, folders[first]))[0]
        if name in samples:
            raise ValueError(
                f'the outputs of {samples[name]} and {sample} would both be '
                f'called {name!r}: predict them in two calls')
        samples[name] = sample
    return samples


def _images(folder: str, file_names: FileNames, key: str) -> Dict[str, str]:
    """What the names of a sample have in common to path of its image."""
    files: Dict[str, str] = {}
    others: List[str] = []
    for root, _, names in os.walk(folder, followlinks=True):
        for name in names:
            path = osp.join(root, name)
            relative = osp.relpath(path, folder)
            stem, suffix = osp.splitext(relative)
            if suffix.lower() not in _SUFFIXES:
                continue
            if key in file_names:
                if file_names.is_of_another(key, relative):
                    others.append(path)
                    continue
                shared = file_names.common(key, relative)
                stem = stem if shared is None else shared
            if stem in files:
                raise ValueError(
                    f'{files[stem]!r} and {path!r} differ in the suffix '
                    'only, so it is open which to take: remove one')
            files[stem] = path
    if not files and others:
        raise FileNotFoundError(
            f'{folder!r} has no file for {key!r}: by file_names of the '
            f"config's test dataset its {len(others)} files, such as "
            f'{others[0]!r}, are of other modalities or labels')
    if not files:
        raise FileNotFoundError(f'{folder!r} has no image: known suffixes '
                                f'are {list(_SUFFIXES)}')
    return files


def out_names(samples: Sequence[Sample]) -> List[str]:
    """Name for the output of each sample, no two of them equal.

    It is the path of the first modality's file without suffix, relative to
    the folder that all have in common. Arrays are numbered.

    Args:
        samples (Sequence[dict]): The samples.

    Returns:
        list[str]: The names, which may have folders.

    Raises:
        ValueError: If two samples would have the same.
    """
    firsts = [next(iter(sample.values())) for sample in samples]
    paths = [osp.abspath(f) for f in firsts if isinstance(f, str)]
    root = osp.commonpath([osp.dirname(p) for p in paths]) if paths else ''
    names: Dict[str, int] = {}
    for i, first in enumerate(firsts):
        if isinstance(first, str):
            name = osp.splitext(osp.relpath(osp.abspath(first), root))[0]
        else:
            name = f'{i:06}'
        if name in names:
            raise ValueError(
                f'the outputs of inputs[{names[name]}] and inputs[{i}] would '
                f'both be called {name!r}: predict them in two calls with '
                'different out_dir')
        names[name] = i
    return list(names)
