"""Write YOLO's label files as COCO json with the paths of all modalities.

For mwam_mm.MultiModalCocoDataset. Images stay where they are, e.g.

    python tools/dataset_converters/yolo.py data/my_dataset \\
        --modalities rgb=images infrared=infrared depth=depth

for data/my_dataset/images/train/0001.jpg, infrared/train/0001.png,
depth/train/0001.png and labels/train/0001.txt; see docs/datasets.md.
"""
import argparse
import os.path as osp
import re
from collections import Counter
from glob import escape, glob
from typing import Dict, List, Optional, Sequence, Set

import yaml

from mwam_mm.atomic import write_json
from mwam_mm.datasets.file_names import read_lines
from mwam_mm.datasets.image_files import IMAGE_SUFFIXES, image_size

CLASS_FILES = ('data.yaml', 'dataset.yaml', 'classes.txt', 'classes.names',
               'obj.names', 'names.txt', 'labels/classes.txt')
# Programs that write labels round, some of them up to 1.000001.
ROUNDING = 1e-4


def read_classes(root: str, path: Optional[str]) -> List[str]:
    """Names of the classes, from a YAML file with `names` or a list.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it has no names.
    """
    tried = [path] if path else [osp.join(root, f) for f in CLASS_FILES]
    found = [p for p in tried if osp.isfile(p)]
    if not found:
        raise FileNotFoundError(
            f'no file with the names of the classes: looked for {tried}. '
            'Give its path by --classes')
    path = found[0]
    with open(path, encoding='utf-8-sig') as file:
        text = file.read()
    if not path.endswith(('.yaml', '.yml')):
        names = [line.strip() for line in text.splitlines() if line.strip()]
    else:
        try:
            names = (yaml.safe_load(text) or {}).get('names')
        except (AttributeError, yaml.YAMLError) as error:
            raise ValueError(f'{path!r} is no YAML mapping: {error}') from None
        if isinstance(names, dict):
            if sorted(names) != list(range(len(names))):
                raise ValueError(f'{path!r}: names are numbered '
                                 f'{sorted(names)}; expected 0, 1, ..')
            names = [names[i] for i in range(len(names))]
    if not names or not isinstance(names, list):
        raise ValueError(f'{path!r} names no classes')
    names = [str(name) for name in names]
    if len(set(names)) < len(names):
        raise ValueError(f'{path!r} names a class twice: {names}')
    return names


def place(root: str, pattern: str, split: str, whole: bool) -> str:
    """Pattern of a folder's files for one split.

    Args:
        root (str): Folder of the dataset.
        pattern (str): Folder or pattern, maybe with `{split}`.
        split (str): The split.
        whole (bool): Whether the folder may be that of all splits, of which
            a list chooses.

    Returns:
        str: Path with one `*` for the name.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    tried = [pattern.replace('{split}', split)] if (
        '{split}' in pattern or whole) else []
    if '{split}' not in pattern:
        head, star, name = pattern.partition('*')
        head, prefix = osp.split(head) if star else (head, '')
        tried += [
            osp.join(folder, prefix + star + name) if star else folder
            for folder in (osp.join(head, split), osp.join(split, head))
        ]
    tried = [osp.join(root, p) for p in tried]
    for path in tried:
        folder = osp.dirname(path.partition('*')[0] + '_') if (
            '*' in path) else path
        if osp.isdir(folder):
            return path if '*' in path else osp.join(path, '*')
    raise FileNotFoundError(f'no folder {" or ".join(map(repr, tried))}')


def find(pattern: str, suffixes: Sequence[str]) -> Dict[str, str]:
    """Name to file, sorted, of a pattern with one `*`.

    Names are relative to the folder, without the suffix.

    Raises:
        ValueError: If two files have one name.
    """
    head, _, tail = pattern.partition('*')
    names: Dict[str, str] = {}
    for path in sorted(glob(f'{escape(head)}**', recursive=True)):
        stem, suffix = osp.splitext(path)
        rest = stem
        if tail:
            end, end_suffix = osp.splitext(tail)
            if end_suffix and end_suffix != suffix:
                continue
            if not stem.endswith(end):
                continue
            rest = stem[:len(stem) - len(end)]
        if suffix.lower() not in suffixes or not osp.isfile(path):
            continue
        name = rest[len(head):]
        if name in names:
            raise ValueError(f'{names[name]!r} and {path!r} have one name')
        names[name] = path
    return names


def read_split(path: str, names: Sequence[str]) -> List[str]:
    """The names that a list chooses, whose lines may be paths of images.

    Raises:
        ValueError: If the list is empty or has an unknown line.
    """
    known: Set[str] = set(names)
    chosen: List[str] = []
    for number, line in read_lines(path):
        line = line.strip().replace('\\', '/')
        stem, suffix = osp.splitext(line)
        parts = (stem if suffix.lower() in IMAGE_SUFFIXES + ('.txt', )
                 else line).split('/')
        ends = ['/'.join(parts[i:]) for i in range(len(parts))]
        matches = [end for end in ends if end in known]
        if not matches:
            raise FileNotFoundError(f'{path!r}, line {number}: there is no '
                                    f'image of {line!r}')
        if matches[0] in chosen:
            raise ValueError(f'{path!r}, line {number}: {line!r} is listed '
                             'twice')
        chosen.append(matches[0])
    if not chosen:
        raise ValueError(f'{path!r} is empty')
    return chosen


def read_labels(path: str, num_classes: int, height: int,
                width: int) -> List[dict]:
    """The boxes of a label file, in pixels.

    Raises:
        ValueError: If a line is wrong. The message names file and line.
    """
    boxes = []
    for number, line in read_lines(path):
        fields = line.split()
        where = f'{path!r}, line {number}: {line.strip()!r}'
        if len(fields) != 5:
            raise ValueError(f'{where} has {len(fields)} fields; expected '
                             'class, x, y, width and height')
        if not re.fullmatch(r'\d+', fields[0]) or int(
                fields[0]) >= num_classes:
            raise ValueError(f'{where} has class {fields[0]!r}; there are '
                             f'{num_classes}, numbered from 0')
        try:
            x, y, w, h = map(float, fields[1:])
        except ValueError:
            raise ValueError(f'{where} has a field that is no '
                             'number') from None
        # Also false for NaN
        if not (all(-ROUNDING <= v <= 1 + ROUNDING for v in (x, y, w, h))
                and w > 0 and h > 0):
            raise ValueError(f'{where}: centre and size are shares of the '
                             "image's, between 0 and 1")
        boxes.append(
            dict(
                category_id=int(fields[0]),
                bbox=[
                    round(v, 4)
                    for v in ((x - w / 2) * width, (y - h / 2) * height,
                              w * width, h * height)
                ],
                area=w * width * h * height,
                iscrowd=0))
    return boxes


def convert_split(root: str, split: str, list_file: Optional[str],
                  modalities: Dict[str, str], labels: str,
                  classes: List[str], optional: Sequence[str]) -> dict:
    """COCO json of one split.

    Raises:
        FileNotFoundError: If a folder or the file of a modality is missing.
        ValueError: If a file does not hold what it should.
    """
    whole = list_file is not None
    patterns = {
        name: place(root, pattern, split, whole)
        for name, pattern in modalities.items()
    }
    files = {
        name: find(pattern, IMAGE_SUFFIXES)
        for name, pattern in patterns.items()
    }
    label_pattern = place(root, labels, split, whole)
    label_files = find(label_pattern, ('.txt', ))
    first, *others = files
    if not files[first]:
        raise FileNotFoundError(f'no image of modality {first!r} found as '
                                f'{patterns[first]!r}')
    names = list(files[first])
    if list_file is not None:
        names = read_split(list_file, names)
    else:
        lonely = set(label_files) - set(names) - {'classes'}
        if lonely:
            raise FileNotFoundError(f'{label_files[min(lonely)]!r} has no '
                                    f'image as {patterns[first]!r}')
    if not set(names) & set(label_files):
        raise FileNotFoundError(
            f'none of {len(names)} images has a label as {label_pattern!r}')
    images, annotations = [], []
    for i, name in enumerate(names):
        paths = {}
        size = image_size(files[first][name])
        for modality, of_modality in files.items():
            path = of_modality.get(name)
            if path is None:
                path = patterns[modality].replace('*', name)
                if modality not in optional:
                    raise FileNotFoundError(
                        f'{files[first][name]!r} has no {modality}: there is '
                        f'no image {path!r}. If samples may lack it, add '
                        f'--optional {modality}')
            elif image_size(path) != size:
                raise ValueError(
                    f'{path!r} has (height, width) {image_size(path)}, but '
                    f'{files[first][name]!r} has {size}')
            paths[modality] = osp.relpath(path, root)
        images.append(
            dict(
                id=i,
                file_name=paths.get('rgb', paths[first]),
                height=size[0],
                width=size[1],
                **{f'{m}_path': p
                   for m, p in paths.items() if m != 'rgb'}))
        if name in label_files:
            for box in read_labels(label_files[name], len(classes), *size):
                annotations.append(
                    dict(box, id=len(annotations) + 1, image_id=i))
    return dict(
        images=images,
        annotations=annotations,
        categories=[dict(id=i, name=name) for i, name in enumerate(classes)])


def find_splits(root: str, splits: Optional[Sequence[str]],
                patterns: Sequence[str]) -> Dict[str, Optional[str]]:
    """Split to the list that chooses its images, None for a folder."""
    found: Dict[str, Optional[str]] = {}
    for split in splits or ('train', 'val', 'valid', 'test'):
        split, equals, path = split.partition('=')
        path = path or osp.join(root, f'{split}.txt')
        if equals and not osp.isfile(path):
            raise FileNotFoundError(f'{path!r} is missing: it should list '
                                    f'the split {split!r}')
        if osp.isfile(path):
            found[split] = path
            continue
        try:
            place(root, patterns[0], split, False)
        except FileNotFoundError as error:
            if splits:
                raise FileNotFoundError(
                    f'{error}, and no list {path!r}') from None
            continue
        found[split] = None
    if not found:
        raise FileNotFoundError(
            f'no split found in {root!r}: there is no list such as '
            f'train.txt, and no folder as {patterns[0]!r} in or with one '
            'called train. Name them by --splits')
    return found


def parse_modalities(items: Sequence[str]) -> Dict[str, str]:
    """`name=folder` items as a dict.

    Raises:
        ValueError: If an item is not of that form, or a name comes twice.
    """
    modalities: Dict[str, str] = {}
    for item in items:
        name, equals, pattern = item.partition('=')
        if not (name and equals and pattern) or pattern.count('*') > 1:
            raise ValueError(f'--modalities {item!r}: expected name=folder, '
                             'with at most one * for the name of the file')
        if name in modalities:
            raise ValueError(f'--modalities names {name!r} twice')
        modalities[name] = pattern.rstrip('/')
    return modalities


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data_root', help='folder of the dataset')
    parser.add_argument(
        '--modalities',
        nargs='+',
        required=True,
        metavar='NAME=FOLDER',
        help='folder of each modality under data_root, the complete one '
        'first. {split} stands for the split; without it both FOLDER/train '
        'and train/FOLDER are tried. Where files of one sample differ in '
        "more than their folder: 'rgb={split}/*_rgb.png'")
    parser.add_argument(
        '--labels', default='labels', help='likewise, of the .txt files')
    parser.add_argument(
        '--classes',
        help="names of the classes: YAML with 'names', or one a line; by "
        'default data.yaml or classes.txt in data_root')
    parser.add_argument(
        '--splits',
        nargs='+',
        metavar='NAME[=LIST]',
        help='splits, maybe with the file that lists their images; by '
        'default those of train, val, valid and test that are folders, or '
        'lists such as train.txt in data_root')
    parser.add_argument(
        '--optional',
        nargs='+',
        default=(),
        metavar='NAME',
        help='modalities that samples may lack; set optional=True in the '
        "config's modalities too")
    parser.add_argument(
        '-o',
        '--out',
        help='folder of the json files; by default annotations in data_root')
    return parser


def main() -> None:
    parser = build_parser()
    args = parser.parse_args()
    root = args.data_root.rstrip('/') or '/'
    out = args.out or osp.join(root, 'annotations')
    try:
        modalities = parse_modalities(args.modalities)
        unknown = set(args.optional) - set(list(modalities)[1:])
        if unknown:
            raise ValueError(f'--optional {sorted(unknown)}: the modalities '
                             f'that may lack are {list(modalities)[1:]}')
        classes = read_classes(root, args.classes)
        splits = find_splits(root, args.splits, list(modalities.values()))
        # All before the first is written, which would be in the way of the
        # next try if the second has a mistake.
        contents = {
            osp.join(out, f'{split}.json'):
            convert_split(root, split, list_file, modalities, args.labels,
                          classes, args.optional)
            for split, list_file in splits.items()
        }
        for path, content in contents.items():
            write_json(path, content)
            counts = Counter(
                a['category_id'] for a in content['annotations'])
            print(f'{path}: {len(content["images"])} images, ' + ', '.join(
                f'{counts[i]} {name}' for i, name in enumerate(classes)))
    except (OSError, ValueError) as error:
        parser.exit(1, f'{error}\n')


if __name__ == '__main__':
    main()
