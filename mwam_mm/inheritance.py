"""One place in a config that holds the modalities."""
import copy
import json
import os.path as osp
from typing import Any, Iterator, Mapping, Optional

from mmengine.config import Config

from .config import walk_dicts

__all__ = ['follow_modalities']


def follow_modalities(cfg: Config) -> None:
    """Let all parts of a config follow its ``modalities``.

    Pipelines, data preprocessor, backbone, neck and hooks hold copies of the
    variable ``modalities``, which MMEngine makes when it reads a file. Where a
    file that inherits, or ``--cfg-options``, changes the variable, they stay
    what they were. This function replaces them: all that equal what
    ``modalities`` was in one of the files. A part that somebody gave another
    layout keeps it, and is an error when training starts.

    The tools of this package and :func:`mwam_mm.apis.init_model` call it.

    Args:
        cfg (Config): The config, changed in place.

    Examples:
        >>> from mmengine.config import Config
        >>> cfg = Config.fromfile('my_job.py')  # doctest: +SKIP
        >>> follow_modalities(cfg)  # doctest: +SKIP
    """
    modalities = cfg.get('modalities')
    if not isinstance(modalities, Mapping):
        return
    now = _text(modalities)
    outdated = [
        part for key, value in cfg.items() if key != 'modalities'
        for _, part in walk_dicts(value, key)
        if isinstance(part.get('modalities'), Mapping)
        and _text(part['modalities']) != now
    ]
    if not outdated:
        return
    earlier = set(map(_text, _earlier(cfg.filename)))
    for part in outdated:
        if _text(part['modalities']) in earlier:
            part['modalities'] = copy.deepcopy(modalities)


def _earlier(path: Optional[str]) -> Iterator[Any]:
    """What ``modalities`` is in a config file and those it inherits from."""
    if not path or not osp.isfile(path):
        return
    yield Config.fromfile(path, import_custom_modules=False).get('modalities')
    # MMEngine offers no public way to learn what a file inherits from.
    for base in Config._get_base_files(path):
        yield from _earlier(Config._get_cfg_path(base, path)[0])


def _text(modalities: Any) -> str:
    """The same for equal settings, NaN among them."""
    return json.dumps(modalities, sort_keys=True, default=repr)
