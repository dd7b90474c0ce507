import copy
from functools import lru_cache

import pytest
from mmengine.config import Config

from mwam_mm.config import type_name
from mwam_mm.convert.pipeline import expanded
from mwam_mm.registry import MODELS, TRANSFORMS
from mwam_mm.stack import has_detection
from mwam_mm.studies import Study
from mwam_mm.studies.run import fingerprint
from mwam_mm.studies.study import (
    keep_modality,
    merge_options,
    modalities_of,
)
from tests.benchmarks import REPO
from tests.studies import write_study


@pytest.mark.parametrize('text, message', [
    ("seed = [1]", "has ['seed']; known are"),
    ("variants = dict(a=dict(config='job.py'))", 'names no seeds'),
    ('seeds = [1]', 'names no variants'),
    ("seeds = [1]\nvariants = dict(a=dict(cfg='job.py'))",
     "['a'] has ['cfg']"),
    ("seeds = [1]\nvariants = dict(a=dict(only='rgb'))",
     "['a'] names no config"),
    ("seeds = [1]\nvariants = {'a/b': dict(config='job.py')}",
     "['a/b']: a name is"),
    ("seeds = [1]\nvariants = dict(a=dict(config='job.py'))\nceilings = 'b'",
     "ceilings is 'b', but the variants are ['a']"),
    ("seeds = [1]\nvariants = dict(a=dict(config='job.py'))\nbaseline = 'b'",
     "baseline is 'b', but the variants are ['a']"),
    ("seeds = [1, 1]\nvariants = dict(a=dict(config='job.py'))",
     'a seed comes twice in [1, 1]'),
    ("seeds = [1]\nvariants = dict(rgb_alone=dict(config='job.py'))\n"
     "ceilings = 'rgb_alone'", "['rgb_alone'] has the name of a ceiling"),
    ("seeds = [1]\nvariants = dict(a=dict(config='job.py', only='sonar'))",
     "job.py has no modality 'sonar'"),
])
def test_a_wrong_study_is_named(monkeypatch, tmp_path, text, message):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path)
    (tmp_path / 'wrong.py').write_text(text)
    with pytest.raises(ValueError) as error:
        for variant in Study.from_file('wrong.py', {}).variants.values():
            variant.load('.')
    assert message in str(error.value)


def test_what_is_given_replaces_what_the_file_says(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path)
    study = Study.from_file('files.py', {'a': 1}, seeds=[5], metric='mAcc')
    assert (study.seeds, study.metric, study.baseline) == ([5], 'mAcc', 'md')
    assert study.work_dir == 'work_dirs/studies/files'
    assert study.ceilings == dict(rgb='rgb_alone', thermal='thermal_alone')
    for name, only in (('md', None), ('rgb_alone', 'rgb')):
        variant = study.variants[name]
        assert (variant.config, variant.only) == ('job.py', only)
        assert variant.options == {'train_cfg': {'val_begin': 1}, 'a': 1}


@pytest.mark.parametrize('of_study, of_variant, given, a, b', [
    # What one variant sets must not reach another.
    ({'train_cfg': dict(max_iters=3)}, {'train_cfg.max_iters': 7}, {},
     (7, 1), (3, 1)),
    ({'train_cfg.max_iters': 3}, {'train_cfg': dict(val_interval=7)}, {},
     (3, 7), (3, 1)),
    ({'train_cfg.max_iters': 3},
     {'train_cfg': dict(max_iters=7, val_interval=7)},
     {'train_cfg.max_iters': 2}, (2, 7), (2, 1)),
    ({'train_cfg.max_iters': 3},
     {'train_cfg': dict(_delete_=True, val_interval=7)}, {},
     (None, 7), (3, 1)),
    ({'train_cfg': None}, {'train_cfg': dict(max_iters=7)}, {},
     (7, 1), (None, None)),
    # A second dict of the same key adds to the first one.
    ({'train_cfg': dict(max_iters=3)}, {'train_cfg': dict(val_interval=7)},
     {}, (3, 7), (3, 1)),
    ({'train_cfg': dict(_delete_=True, max_iters=3)},
     {'train_cfg': dict(val_interval=7)}, {}, (3, 7), (3, None)),
])
def test_settings_override_each_other(tmp_path, monkeypatch, of_study,
                                      of_variant, given, a, b):
    """By the key itself or in the dict of a key, of the study, the variant
    or the command line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'job.py').write_text(
        "default_scope = 'mmengine'\n"
        'train_cfg = dict(max_iters=1, val_interval=1)')
    (tmp_path / 'study.py').write_text(
        f"seeds = [0]\nconfig = 'job.py'\noptions = {of_study}\n"
        f'variants = dict(a=dict(options={of_variant}), b=dict())')
    study = Study.from_file('study.py', given)
    for name, expected in (('a', a), ('b', b), ('a', a)):
        cfg = study.variants[name].load('.').train_cfg or {}
        assert (cfg.get('max_iters'), cfg.get('val_interval')) == expected


@pytest.mark.parametrize('layers', [
    [{'a': dict(x=dict(p=1))}, {'a': dict(x=dict(q=2))}],
    [{'a': dict(x=dict(p=1))}, {'a.x': dict(q=2)}],
    [{'a': dict(x={'with.dot': 1})}, {'a.y': 2}, {'a': dict(x=dict(q=2))}],
    [{'hooks': [dict(k=1), dict(k=2)]}, {'hooks.1.k': 3}],
    [{'hooks.0.k': 1}, {'hooks.0': dict(n=2)}],
    [{'a.x.p': 1}, {'a.x': 5}],
])
def test_merged_settings_do_what_merging_them_in_turn_does(layers):
    def config():
        return Config(dict(
            a=dict(x=dict(p=0, r=0), y=0), hooks=[dict(k=0, z=0)]))

    in_turn, at_once = config(), config()
    for layer in layers:
        in_turn.merge_from_dict(copy.deepcopy(layer))
    given = copy.deepcopy(layers)
    at_once.merge_from_dict(merge_options(*layers))
    assert at_once.to_dict() == in_turn.to_dict()
    assert layers == given


def test_some_variants_with_baseline_and_ceilings(tmp_path):
    (tmp_path / 'study.py').write_text(
        "seeds = [0]\nbaseline = 'b'\nconfig = 'job.py'\n"
        'variants = dict(a=dict(), b=dict(), c=dict())')
    study = Study.from_file(str(tmp_path / 'study.py'), {})
    study.ceilings['rgb'] = 'c'
    assert list(study.select(['a']).variants) == ['a', 'b', 'c']
    study.ceilings.clear()
    assert list(study.select(['a']).variants) == ['a', 'b']
    with pytest.raises(ValueError, match=r"--variants \['d'\]: the variants"):
        study.select(['a', 'd'])


@pytest.mark.parametrize(
    'path', sorted((REPO / 'configs/studies').glob('*.py')),
    ids=lambda path: path.stem)
def test_shipped_studies(path, monkeypatch):
    if path.stem == 'urban_trees' and not has_detection():
        pytest.skip('needs mmdet and the compiled ops of mmcv')
    # Most variants are of few files.
    read = lru_cache(maxsize=None)(Config.fromfile)
    monkeypatch.setattr(Config, 'fromfile', lambda f: copy.deepcopy(read(f)))
    study = Study.from_file(str(path), {})
    assert len(study.seeds) >= 6 and study.baseline in study.variants
    assert study.metric
    # A held-out part of the training set has none.
    assert len(study.ceilings) == (0 if path.stem.endswith('tuning') else 2)
    settings = {}
    for name, variant in study.variants.items():
        cfg = variant.load('.')
        assert ('custom_hooks' in cfg) == (
            name not in ('plain', 'md', 'md-1000-iterations',
                         'md-branches2', 'md_merged',
                         *study.ceilings.values()))
        assert cfg.default_hooks.checkpoint is None
        if variant.only is not None:
            assert modalities_of(cfg) == (variant.only, )
        for hook in cfg.get('custom_hooks', []):
            k = hook.get('weigher', {}).get('k')
            assert k is None or tuple(k) == modalities_of(cfg)
        settings[name] = fingerprint(cfg)
    assert len(set(settings.values())) == len(settings)  # all differ


@pytest.mark.parametrize('name, kept, own', [
    ('rgb', ['RandomApply', 'PhotometricTransforms', 'RandomFlip'],
     ['PhotometricTransforms']),
    ('depth', ['RandomFlip'], []),
])
def test_a_ceiling_has_the_colours_of_its_modality_only(name, kept, own):
    modalities = dict(rgb=dict(channels=3), depth=dict(channels=1))
    colours = dict(type='PhotoMetricDistortion')
    cfg = Config(dict(
        model=dict(modalities=modalities),
        train_pipeline=[colours],  # of the base, which nothing uses
        val_cfg=dict(combinations=['rgb'], faults=[dict(modality='rgb')]),
        train_dataloader=dict(dataset=dict(pipeline=[
            dict(type='mwam_mm.multimodal', modalities=modalities,
                 transforms=[
                     dict(type='LoadImageFromFile'),
                     dict(type='RandomApply', transforms=[colours]),
                     colours,
                     dict(type='RandomFlip', prob=0.5)
                 ]),
            dict(type='mwam_mm.PhotometricTransforms', modalities=modalities,
                 transforms=[colours])
        ]))))
    keep_modality(cfg, name)
    assert cfg.val_cfg == {} and cfg.train_pipeline == [colours]
    pipeline = cfg.train_dataloader.dataset.pipeline
    loading, *steps = expanded(pipeline[:1])
    assert list(loading['modalities']) == [name]
    assert [type_name(step) for step in steps] == kept
    assert [type_name(step) for step in pipeline[1:]] == own


def test_a_ceiling_has_what_is_said_of_its_modality_only():
    """Else its parts name modalities that it does not have."""
    modalities = dict(rgb=dict(channels=3), depth=dict(channels=1))
    cfg = Config(dict(
        model=dict(
            backbone=dict(
                type='mwam_mm.MultiModalBackbone', modalities=modalities,
                branch=dict(type='mmseg.ResNetV1c', depth=18),
                # This depth is of the network.
                branches=dict(depth=dict(depth=34))),
            neck=dict(
                type='mwam_mm.MWAMNeck', modalities=modalities,
                in_channels=dict(rgb=[64, 128, 256, 512],
                                 depth=[64, 128, 256, 512]))),
        train_dataloader=dict(dataset=dict(pipeline=[
            dict(type='mwam_mm.LoadModalities', modalities=modalities,
                 imdecode_backend=dict(depth='pillow'),
                 npz_key=dict(depth='z'), resize_to='rgb'),
            dict(type='mwam_mm.RandomDropModality',
                 modalities=['rgb', 'depth'],
                 weights={'rgb+depth': 2, 'depth': 1})
        ])),
        custom_hooks=[dict(k=dict(rgb=0.5, depth=2.))]))
    wrong = copy.deepcopy(cfg)
    with pytest.raises(ValueError, match=(
            r"pipeline\.0\.resize_to='rgb' gives 'depth' a size")):
        keep_modality(wrong, 'depth')
    cfg_of = dict(rgb=copy.deepcopy(cfg), depth=cfg)
    del cfg_of['depth'].train_dataloader.dataset.pipeline[0]['resize_to']
    for name, layers in (('rgb', 2), ('depth', 3)):
        cfg = cfg_of[name]
        keep_modality(cfg, name)
        branch, = MODELS.build(cfg.model.backbone).branches.values()
        assert len(branch.layer1) == layers
        neck = MODELS.build(cfg.model.neck)
        assert neck.in_channels[0] == {name: 64}
        load, drop = map(TRANSFORMS.build,
                         cfg.train_dataloader.dataset.pipeline)
        assert load.layout.names == drop.modalities == (name, )
        assert list(drop.weights) == [name]
        assert cfg.custom_hooks[0].k == {name: dict(rgb=0.5, depth=2.)[name]}


def test_what_cannot_be_trained_alone_is_an_error_of_the_study(
        tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'job.py').write_text(
        "default_scope = 'mmengine'\n"
        'modalities = dict(rgb=dict(channels=3), depth=dict(channels=1))\n'
        'model = dict(modalities=modalities)\n'
        "load = dict(modalities=modalities, resize_to='depth')\n")
    (tmp_path / 'study.py').write_text(
        "seeds = [0]\nconfig = 'job.py'\nvariants = dict(a=dict())\n"
        "ceilings = 'a'\n")
    with pytest.raises(ValueError, match="'rgb' cannot be trained alone"):
        Study.from_file('study.py', {})
