"""Jobs shrunk for a smoke test."""
import pytest

from mwam_mm.convert.smoke import shrink, shrink_dataset, shrink_evaluator


@pytest.mark.parametrize('sizes, expected', [
    (dict(scale=(2048, 512), keep_ratio=True),
     dict(scale=(64, 64), keep_ratio=True)),
    (dict(scales=[320, 640], max_size=2560), dict(scales=[64], max_size=64)),
    (dict(scales=[(1, 2), (3, 4)]), dict(scales=[(64, 64)])),
    (dict(transforms=[[dict(size=[8, 9])]]),
     dict(transforms=[[dict(size=[64, 64])]])),
    (dict(scale_factor=0.5, size_divisor=32),
     dict(scale_factor=0.5, size_divisor=32)),
])
def test_shrink(sizes, expected):
    assert shrink(sizes, 64) == expected


def test_shrink_dataset():
    """All datasets within wrappers, the scenes in another way than others."""
    scenes = dict(type='mwam_mm.SceneDetDataset', data_root='data/scenes')
    files = dict(type='MyDataset', data_root='data/mine')
    wrapper = dict(
        type='ConcatDataset',
        datasets=[dict(type='RepeatDataset', times=2, dataset=scenes), files])
    evaluator = dict(ann_file='data/scenes/annotations/val.json')
    shrink_evaluator(evaluator, wrapper, 32)
    assert evaluator == dict(ann_file='data/scenes_32/annotations/val.json')
    shrink_dataset(wrapper, 32)
    assert scenes == dict(
        type='mwam_mm.SceneDetDataset',
        data_root='data/scenes_32',
        scene_cfg=dict(height=32, width=32, splits=dict(train=4, val=2)))
    assert files == dict(type='MyDataset', data_root='data/mine', indices=2)
    other = dict(ann_file='data/mine/val.json')
    shrink_evaluator(other, files, 32)
    assert other == dict(ann_file='data/mine/val.json')
