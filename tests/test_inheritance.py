"""A file that inherits changes `modalities` in one place."""
from argparse import Namespace

import pytest
from mmengine.config import Config

from mwam_mm.apis import init_model
from mwam_mm.cli import load_config
from mwam_mm.config import walk_dicts
from mwam_mm.inheritance import follow_modalities

from .benchmarks import REPO

MAIN = REPO / 'configs/rgbd_seg_mwam.py'


@pytest.fixture(autouse=True)
def _keep_environment(monkeypatch):
    """The tools set it."""
    monkeypatch.setenv('LOCAL_RANK', '0')


def args(path, options=None):
    return Namespace(
        config=str(path),
        cfg_options=options,
        work_dir=None,
        launcher='none',
        local_rank=0)


def layouts(cfg):
    """Config key to what a part has as modalities."""
    return {
        path: part['modalities']
        for path, part in walk_dicts(cfg._cfg_dict)
        if isinstance(part.get('modalities'), dict)
    }


BASE = """
modalities = dict(
    rgb=dict(channels=3), depth=dict(channels=1, mean=1., std=2.))
load = dict(type='mwam_mm.LoadModalities', modalities=modalities)
drop = dict(type='mwam_mm.DropModality', modalities=['depth'])
train_dataloader = dict(dataset=dict(pipeline=[load, drop]))
model = dict(
    type='mwam_mm.multimodal', modalities=modalities, base=dict(neck=dict()))
"""


@pytest.fixture
def inherit(tmp_path):
    """Write a config file that inherits from another and return its path."""
    (tmp_path / 'base.py').write_text(BASE)

    def write(text, name='mine.py', base='base.py'):
        path = tmp_path / name
        path.write_text(f'_base_ = {str(base)!r}\n{text}\n')
        return path

    return write


def test_statistics_in_a_file_that_inherits(inherit):
    path = inherit('modalities = dict(\n'
                   '    rgb=dict(mean=[1., 2., 3.]),\n'
                   '    depth=dict(mean=0.5, std=0.25))', base=MAIN)
    cfg = load_config(args(path))
    found = layouts(cfg)
    assert {
        '', 'model.data_preprocessor', 'model.backbone', 'model.neck',
        'train_dataloader.dataset.pipeline.0',
        'val_dataloader.dataset.pipeline.0',
        'test_dataloader.dataset.pipeline.0'
    } < set(found)
    # RandomDropModality
    assert sum('train_dataloader' in key for key in found) == 2
    for modalities in found.values():
        assert modalities == cfg.modalities
        assert modalities.depth == dict(
            channels=1, mean=0.5, std=0.25, scale=0.001, invalid_value=0)
        assert modalities.rgb.mean == [1, 2, 3]
        assert modalities.rgb.bgr_to_rgb
    assert init_model(
        str(path),
        device='cpu').data_preprocessor.layout['depth'].mean == (0.5, )


def test_other_modalities(inherit):
    path = inherit('modalities = dict(_delete_=True, thermal=dict(channels=1),'
                   ' rgb=dict(channels=3))', base=MAIN)
    model = init_model(str(path), device='cpu')
    assert list(model.backbone.branches) == ['rgb', 'thermal']


def test_a_file_between_and_an_option(inherit):
    inherit('modalities = dict(depth=dict(mean=5.))', 'middle.py')
    for path, options, mean in (
        (inherit('lr = 1', 'a.py', 'middle.py'), None, 5),
        (inherit('modalities = dict(depth=dict(mean=6.))', 'b.py',
                 'middle.py'), None, 6),
        (inherit('lr = 1', 'c.py'), {'modalities.depth.mean': 7.}, 7),
    ):
        cfg = load_config(args(path, options))
        assert {m.depth.mean for m in layouts(cfg).values()} == {mean}
        assert len(layouts(cfg)) == 4
        assert cfg.drop.modalities == ['depth']


def test_what_a_file_gives_a_part_itself_stays(inherit):
    path = inherit('modalities = dict(depth=dict(mean=5.))\n'
                   'model = dict(modalities=dict(depth=dict(std=9.)))')
    cfg = load_config(args(path))
    assert cfg.model.modalities.depth == dict(channels=1, mean=1, std=9)
    assert cfg.load.modalities.depth.mean == 5


def test_nan_is_a_value(inherit):
    inherit("modalities = dict(depth=dict(invalid_value=float('nan')))",
            'middle.py')
    path = inherit('modalities = dict(depth=dict(mean=5.))', base='middle.py')
    for modalities in layouts(load_config(args(path))).values():
        assert modalities.depth.mean == 5
        assert modalities.depth.invalid_value != \
            modalities.depth.invalid_value


def test_nothing_to_follow(inherit, tmp_path):
    """Without a file or the variable, and of a config that was dumped."""
    cfg = Config(dict(model=dict(modalities=dict(a=dict(channels=1)))))
    follow_modalities(cfg)
    cfg.modalities = dict(a=dict(channels=2))
    follow_modalities(cfg)
    assert cfg.model.modalities.a.channels == 1
    path = inherit('modalities = dict(depth=dict(mean=5.))')
    once = load_config(args(path))
    once.dump(tmp_path / 'dumped.py')
    again = load_config(args(tmp_path / 'dumped.py'))
    assert layouts(again) == layouts(once)
