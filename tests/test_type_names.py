"""Names of this package's classes in configs."""
import pytest
from mmengine.config import Config

from mwam_mm.cli import read_config
from mwam_mm.type_names import check_type_names


@pytest.mark.parametrize('cfg, key, name', [
    (dict(custom_hooks=[dict(type='EMAHook'), dict(type='MWAMHook')]),
     'custom_hooks.1.type', 'MWAMHook'),
    (dict(model=dict(type='multimodal')), 'model.type', 'multimodal'),
    (dict(train_dataloader=dict(dataset=dict(type='MultiModalSegDataset'))),
     'train_dataloader.dataset.type', 'MultiModalSegDataset'),
    (dict(val_cfg=dict(type='mwam_mm.MissingModalitiesValLoop')),
     'val_cfg.type', 'MissingModalityValLoop'),
    (dict(model=dict(data_preprocessor=dict(
        type='mwam_mm.MultiModalSegDataPreProcessor'))),
     'model.data_preprocessor.type', 'MultiModalSegDataPreprocessor'),
])
def test_the_error_names_key_and_right_name(cfg, key, name):
    with pytest.raises(ValueError, match=key) as error:
        check_type_names(dict(cfg, default_scope='mmseg'))
    assert f"'mwam_mm.{name}'" in str(error.value)


@pytest.mark.parametrize('cfg', [
    dict(default_scope='mmseg', model=dict(type='EncoderDecoder')),
    # of registries without a parent, which need no prefix
    dict(default_scope='mmseg',
         custom_hooks=[dict(type='mwam_mm.BalanceHook',
                            weigher=dict(type='MWAM'),
                            intervention=[dict(type='combination')])],
         test_cfg=dict(faults=[dict(type='Stripe')])),
    # our scope, a Python path, a class, and what nobody knows
    dict(default_scope='mwam_mm', custom_hooks=[dict(type='MWAMHook')]),
    dict(custom_hooks=[dict(type='mwam_mm.engine.hooks.MWAMHook')]),
    dict(model=dict(type=dict)),
    dict(model=dict(type='mwam_mm.Nobody'), work_dir='x'),
])
def test_other_names_are_left_alone(cfg):
    check_type_names(cfg)
    check_type_names(Config(cfg))


def test_the_tools_check(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text("default_scope = 'mmseg'\n"
                    "val_cfg = dict(type='MissingModalityValLoop')\n")
    with pytest.raises(ValueError, match="val_cfg.type='MissingModality"):
        read_config(str(path))
