"""Trial runs of tools/benchmarks and of the comparison of the metrics."""
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mwam_mm.layout import ModalityLayout
from mwam_mm.mwam import frm

from ..conftest import REPO

TARGETS = dict(a=2, b=1, c=2, d=2, e=2, f=3)  # number in a trial run
if torch.cuda.is_available():  # MWAM.update as well, and iteration on / off
    TARGETS.update(a=6, b=2)


@pytest.fixture
def run(load_tool, monkeypatch):
    monkeypatch.setattr(sys, 'path', sys.path[:])
    tool = load_tool('benchmarks/run')
    threads = torch.get_num_threads()

    def main(*argv):
        monkeypatch.setattr(sys, 'argv', ['run.py', *argv])
        tool.main()

    yield main
    torch.set_num_threads(threads)


def test_trial_run_reports_every_target(run, tmp_path, capsys):
    out = tmp_path / 'out.json'
    run('--tiny', '--repeats', '2', '--threads', '1', '--out', str(out))
    printed = capsys.readouterr().out
    report = json.loads(out.read_text())
    assert report['machine']['threads'] == 1
    judged = dict.fromkeys(TARGETS, 0)
    for result in report['results']:
        assert result['low'] <= result['ratio'] <= result['high']
        bounds = (result['at_most'], result['at_least'])
        if bounds == (None, None):
            assert result['verdict'] == ''
            continue
        judged[result['part']] += 1
        assert result['verdict'] in ('pass', 'falls short')
    assert judged == TARGETS
    assert 'falls short' in printed or 'pass' in printed


def test_verdicts(run):
    from benchmarks.measuring import Result
    assert Result('a', 'x', 2, 1, 3, at_most=2).verdict == 'pass'
    assert Result('a', 'x', 2.1, 1, 3, at_most=2).verdict == 'falls short'
    assert Result('a', 'x', 2, 1, 3, at_least=2).verdict == 'pass'
    assert Result('a', 'x', 1.9, 1, 3, at_least=2).verdict == 'falls short'
    for ratio, verdict in ((.9, 'pass'), (1.1, 'falls short')):
        assert Result(
            'c', 'x', 1.2, ratio, 1.3, at_most=1,
            within_spread=True).verdict == verdict


def test_the_time_of_kernels_with_any_pytorch(run):
    from benchmarks.measuring import DeviceType, kernel_seconds

    def event(device, **duration):
        calls = {name: lambda x=x: x for name, x in duration.items()}
        return SimpleNamespace(device_type=lambda: device, **calls)

    for unit, size in (('ns', 1e-9), ('us', 1e-6)):
        events = [event(device, **{f'duration_{unit}': duration})
                  for device, duration in (
                      (DeviceType.CUDA, 3), (DeviceType.CPU, 10),
                      (DeviceType.CUDA, 4))]
        assert kernel_seconds(events) == pytest.approx(7 * size)


def test_what_scaling_costs_is_measured_on_all_features(run):
    from benchmarks.steps import tensors
    a, b, c = torch.rand(3, 2)
    found = tensors(dict(rgb=(a, [b]), depth=None, thermal=dict(x=c)))
    assert [x.data_ptr() for x in found] == [x.data_ptr() for x in (a, b, c)]


def test_the_script_for_a_gpu_says_what_is_missing(tmp_path):
    if torch.cuda.is_available():
        pytest.skip('is about machines without a GPU')
    result = subprocess.run(
        ['bash', str(REPO / 'tools/benchmarks/cuda.sh'), str(tmp_path)],
        env=dict(os.environ, PYTHON=sys.executable),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True)
    assert result.returncode == 1
    assert 'no CUDA device' in result.stdout


def test_the_published_procedure_is_the_same_metric(run):
    from benchmarks.frm_cost import published
    x = torch.rand(2, 3, 24, 40).cumsum(3)
    assert published(x).item() == pytest.approx(frm(x).item(), rel=2e-2)
    assert published(x, sigma=1.).item() == pytest.approx(
        frm(x, sigma=1.).item(), rel=1e-3)


def test_order_of_the_modalities_on_real_pairs(load_tool, data_root):
    tool = load_tool('analysis_tools/compare_frm')
    pairs = tool.load(str(data_root), 'potholes', False)[::8]
    assert list(pairs[0]) == ['rgb', 'depth']
    assert pairs[0]['rgb'].shape == (1, 3, 152, 256)
    # The paper's order depends on sigma, the robust one does not.
    for sigma in (1e-8, 1e-6, 1e-4):
        rgb, depth = tool.pooled(pairs, metric='robust', sigma=sigma)
        assert 2 < rgb < 4 and 10 < depth < 25
    pairs[0]['depth'][..., :8, :16] = 2.
    assert tool.is_flat(pairs[0]['depth']).sum() == 2
    assert tool.share_table(pairs, 'title').row_count == 2
    table = tool.interval_table(pairs[:2], 'title', 0, num_batches=4)
    assert table.row_count == 10


@pytest.mark.parametrize('name', ['potholes', 'urban_trees'])
def test_the_data_are_where_the_configs_expect_them(load_tool, name):
    tool = load_tool('analysis_tools/compare_frm')
    root = tool.build_parser().parse_args([]).data_root
    cfg = Config.fromfile(tool.CONFIGS / f'{name}.py')
    assert cfg.train_dataloader.dataset.data_root == f'{root}/{name}'


def write_pairs(root, count=3):
    """Pairs of a thermal camera and, in all but the last sample, a radar."""
    rng = np.random.default_rng(0)
    for i in range(count):
        for folder in ('thermal', 'radar'):
            (root / folder).mkdir(exist_ok=True)
            np.save(root / folder / f'{i}.npy',
                    rng.normal(size=(40, 56 + i)).cumsum(1))
    (root / f'radar/{count - 1}.npy').unlink()


@pytest.mark.parametrize('recipe', [False, True])
def test_order_of_the_modalities_of_any_config(load_tool, tmp_path, capsys,
                                               monkeypatch, recipe):
    write_pairs(tmp_path)
    modalities = dict(
        thermal=dict(
            channels=1, mean=2., std=3., path_key='img_path'),
        radar=dict(channels=1, optional=True))
    pipeline = [
        dict(type='mwam_mm.LoadModalities', modalities=modalities),
        dict(type='PackSegInputs')
    ]
    if recipe:
        pipeline = [
            dict(
                type='mwam_mm.multimodal',
                modalities=modalities,
                transforms=[dict(type='LoadImageFromFile'), pipeline[1]])
        ]
    else:
        pipeline[1]['meta_keys'] = ('img_path', 'absent_modalities')
    cfg = Config(
        dict(
            default_scope='mmseg',
            val_dataloader=dict(
                dataset=dict(
                    type='mwam_mm.MultiModalSegDataset',
                    data_root=str(tmp_path),
                    data_prefix=dict(
                        img_path='thermal', radar_path='radar'),
                    img_suffix='.npy',
                    pipeline=pipeline))))
    cfg.dump(str(tmp_path / 'job.py'))
    tool = load_tool('analysis_tools/compare_frm')
    pairs = tool.load_samples(cfg, 'val', 10, False)
    assert len(pairs) == 2 and pairs[1]['radar'].shape == (1, 1, 40, 57)
    expected = (np.load(tmp_path / 'thermal/0.npy') - 2) / 3
    found = next(p for p in pairs if p['thermal'].size(3) == 56)
    np.testing.assert_allclose(
        found['thermal'][0, 0].numpy(), expected, rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(tool, 'interval_table', lambda *args: 'intervals')
    monkeypatch.setattr(
        sys, 'argv', ['compare_frm.py', str(tmp_path / 'job.py')])
    tool.main()
    said = capsys.readouterr().out
    assert '2 pairs' in said and 'FRM radar' in said
    assert 'RGB is not distorted: no modality "rgb"' in said
    for split, message in (('train', 'no train_dataloader'), ('val', 'has no '
                           'mwam_mm.LoadModalities')):
        cfg.val_dataloader.dataset.pipeline = []
        with pytest.raises(ValueError, match=message):
            tool.load_samples(cfg, split, 10, False)


def test_distorted_colours_of_a_config(load_tool):
    tool = load_tool('analysis_tools/compare_frm')
    layout = ModalityLayout(
        dict(depth=dict(channels=1), rgb=dict(channels=3)))
    image = np.full((4, 5, 4), 100, np.float32)
    np.random.seed(0)
    for _ in range(8):  # one distortion may be none
        image = tool.DistortRGB(layout)(dict(img=image))['img']
    assert (image[..., :3] != 100).any() and (image[..., 3] == 100).all()
    with pytest.raises(ValueError, match='8 bits'):
        tool.DistortRGB(layout)(dict(img=image * 10))
