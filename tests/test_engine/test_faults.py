"""Sensor faults are rows of the missing-modality loops."""
import csv

import numpy as np
import pytest
import torch

from mwam_mm.evaluation import newest_report

from ..reports import read_report
from .test_missing_modality_loops import (  # noqa: F401
    COMBINATIONS,
    SIZE,
    build,
    config,
    count_branch_calls,
    data,
)

NOISE = dict(type='mwam_mm.GaussianNoise', modality='depth', sigma=2.)
FAULTS = [
    NOISE,
    dict(type='mwam_mm.FrozenFrame', modality='rgb', frame=1),
    dict(type='mwam_mm.MissingElements', modality='rgb', share=0.5),
]
ROWS = [
    'depth.gaussian_noise_2', 'rgb.frozen_frame_1', 'rgb.missing_elements_0.5'
]


def stock_run(data, state, change, size=(32, 40)):  # noqa: F811
    """The metrics of a stock test run on changed inputs."""
    cfg = config(data, 'TestLoop', batch_size=1)
    cfg.model.data_preprocessor.test_cfg = dict(size=size)
    runner = build(cfg, state)
    preprocessor = runner.model.data_preprocessor
    forward, inputs = preprocessor.forward, []

    def changing(batch, training=False):
        result = forward(batch, training)
        inputs.append(result['inputs'].clone())
        result['inputs'] = change(result['inputs'].clone(), inputs)
        return result

    preprocessor.forward = changing
    return runner.test()


def same(value):
    """IoUMetric rounds to 0.01."""
    return pytest.approx(value, abs=0.006)


def add_noise(x, seen):
    place = len(seen) - 1
    seed, = np.random.SeedSequence((0, place)).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(seed) // 2)
    x[0, 3:] += (2 * torch.randn(1, 32, 40, generator=generator)).to(x)
    return x


def test_rows_in_table_and_files(data, capfd):  # noqa: F811
    runner = build(config(data, faults=FAULTS))
    encoded = count_branch_calls(runner)
    metrics = runner.test()
    # Of a fault, only the modality that has it is encoded anew.
    assert encoded == dict(rgb=SIZE * 3, depth=SIZE * 2)

    report = read_report(data.parent / 'work', 'test')
    assert list(report['combinations']) == list(COMBINATIONS)
    assert list(report['faults']) == ROWS
    log = capfd.readouterr().out
    table = log[log.index('| combination'):]
    path = newest_report(str(data.parent / 'work'), 'test')
    with open(path.replace('.json', '.csv')) as file:
        lines = {line['combination']: line for line in csv.DictReader(file)}
    full = metrics['rgb+depth/mIoU']
    for row in ROWS:
        entry = report['faults'][row]
        score = metrics[f'{row}/mIoU']
        assert entry['samples'] == SIZE
        assert entry['metrics']['mIoU'] == score
        assert entry['PCR']['mIoU'] == metrics[f'{row}/PCR']
        assert entry['PCR']['mIoU'] == pytest.approx(
            100 * (full - score) / full)
        assert float(lines[row]['mIoU']) == score
        assert f'| {row} ' in table
    assert abs(metrics[f'{ROWS[0]}/mIoU'] - full) > 0.02
    # No average has them.
    assert metrics['avg/mIoU'] == pytest.approx(
        sum(metrics[f'{name}/mIoU'] for name in COMBINATIONS) / 3)

    state = runner.model.state_dict()
    noisy = stock_run(data, state, add_noise)
    assert metrics[f'{ROWS[0]}/mIoU'] == same(noisy['mIoU'])


@pytest.mark.parametrize('size', [(32, 40), (48, 64)], ids=str)
def test_frozen_frame_of_the_dataset(data, size):  # noqa: F811
    """Also where images are padded."""
    cfg = config(data, faults=[FAULTS[1]])
    cfg.model.data_preprocessor.test_cfg = dict(size=size)
    runner = build(cfg)
    metrics = runner.test()
    state = runner.model.state_dict()
    frames = []
    stock_run(
        data, state, lambda x, seen: frames.append(x.clone()) or x, size)
    assert frames[0].shape[2:] == size

    def freeze(x, seen):
        x[0, :3] = frames[1][0, :3]
        return x

    frozen = stock_run(data, state, freeze, size)
    assert metrics[f'{ROWS[1]}/mIoU'] == same(frozen['mIoU'])


def test_another_batch_size_gives_the_same(data):  # noqa: F811
    runner = build(config(data, faults=FAULTS))
    state = runner.model.state_dict()
    first = runner.test()
    again = build(config(data, faults=FAULTS, batch_size=3), state).test()
    for row in ROWS:
        assert again[f'{row}/mIoU'] == first[f'{row}/mIoU']


def test_a_misspelt_modality(data):  # noqa: F811
    cfg = config(data, faults=[dict(NOISE, modality='dpeth')])
    with pytest.raises(
            ValueError, match=r"test_cfg.faults\[0\].modality names .*dpeth"):
        build(cfg).test_loop
