"""The pipeline that a config predicts with."""
import pytest
from mmengine.config import Config

from mwam_mm.convert.prediction import prediction_transforms

MODALITIES = dict(rgb=dict(channels=3), depth=dict(channels=1))


def dataset(border, **options):
    return dict(
        type='MultiModalSegDataset',
        pipeline=[
            dict(type='mwam_mm.LoadModalities', modalities=MODALITIES,
                 border=border),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs')
        ],
        **options)


def loader(*datasets):
    return dict(dataset=dict(type='ConcatDataset', datasets=list(datasets)))


@pytest.mark.parametrize('loaders, border', [
    (dict(test_dataloader=loader(dataset(1), dataset(2)),
          val_dataloader=loader(dataset(3))), 1),
    (dict(val_dataloader=loader(dataset(3), dataset(4))), 3),
    (dict(test_dataloader=loader(dict(type='A')),
          test_pipeline=dataset(5)['pipeline']), 5),
])
def test_the_first_dataset_counts(loaders, border):
    load, pack = prediction_transforms(Config(loaders))
    assert load['border'] == border
    assert all(m['optional'] for m in load['modalities'].values())
    assert pack == dict(type='PackSegInputs')


def test_without_any():
    with pytest.raises(ValueError, match='no test_dataloader'):
        prediction_transforms(Config(dict(train_dataloader=loader())))
