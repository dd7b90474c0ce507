"""The pipeline that a config predicts with."""
import copy
from typing import List

from mmengine.config import Config

from mwam_mm.config import dataset_of_tests, type_name, walk_dicts

from .pipeline import expanded, loads_annotations

__all__ = ['prediction_transforms']


def prediction_transforms(cfg: Config) -> List[dict]:
    """The transforms of the test pipeline that need no annotations.

    Args:
        cfg (Config): The config, whose :func:`dataset_of_tests` has the
            pipeline; where that has none, its ``test_pipeline`` counts.

    Returns:
        list[dict]: Their configs, with any stock pipeline that
        ``mwam_mm.multimodal`` stands for carried over. Every modality is
        optional, so a file may be missing.

    Raises:
        ValueError: If there is no such pipeline.
    """
    found = dataset_of_tests(cfg).get('pipeline') or cfg.get('test_pipeline')
    if not found:
        raise ValueError('the config has no test_dataloader.dataset.pipeline, '
                         'so it is unknown how images are to be preprocessed')
    steps = [
        copy.deepcopy(dict(step)) for step in expanded(found)
        if not loads_annotations(step)
    ]
    for _, step in walk_dicts(steps):
        if type_name(step) == 'LoadModalities':
            step['modalities'] = {
                name: dict(fields, optional=True)
                for name, fields in step['modalities'].items()
            }
    return steps
