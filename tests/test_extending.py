"""The examples of docs/extending.md, from outside the package."""
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from .processes import run_script

REPO = Path(__file__).resolve().parents[1]
TEXT = (REPO / 'docs' / 'extending.md').read_text()
BLOCKS = re.findall(r'```python\n(.*?)```', TEXT, re.S)
MODULE = '\n\n'.join(b for b in BLOCKS if 'register_module' in b)
CONFIGS = {
    re.search(r"type='(?:mwam_mm\.)?(\w+)'\)", b).group(1): b
    for b in BLOCKS if b.startswith('# config')
}
# As tests/tiny.py, but of files, and without this repository in the path.
JOB = '''
import importlib.util
import sys

from mmengine.config import Config
from mmengine.runner import Runner

spec = importlib.util.spec_from_file_location('tiny', {tiny!r})
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)
import pathlib

cfg = tiny.config(pathlib.Path('work'), max_iters=2)
cfg.merge_from_dict(Config.fromfile('config.py').to_dict())
assert not any('tests' in path for path in sys.path)
runner = Runner.from_cfg(cfg)
runner.train()
print(sorted(runner.message_hub.log_scalars))
'''


def run(folder, config):
    (folder / 'my_project.py').write_text(MODULE)
    (folder / 'config.py').write_text(BLOCKS[0] + config)
    (folder / 'job.py').write_text(
        JOB.format(tiny=str(REPO / 'tests' / 'tiny.py')))
    done = run_script('job.py', cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tried():
    assert MODULE.count('register_module') == 4
    assert set(CONFIGS) == {
        'Confidence', 'MWAM', 'MaxFusion', 'LoadAnnotations'
    }


@pytest.mark.parametrize('name, logged', [
    ('Confidence', 'train/balance/score_rgb'),
    ('MWAM', 'train/balance/FRM_depth'),
    ('MaxFusion', 'train/loss'),
])
def test_plug_ins_train(tmp_path, name, logged):
    assert logged in run(tmp_path, CONFIGS[name])


def test_a_modality_that_no_sample_of_a_batch_has(tmp_path):
    """Modality dropout leaves such batches."""
    one_sample = "\ntrain_dataloader = dict(batch_size=1)\n"
    config = CONFIGS['Confidence'].replace("'gradient'",
                                           "['dropout', 'gradient']")
    assert 'train/balance/score_rgb' in run(tmp_path, config + one_sample)


def test_a_dataset_with_a_third_modality(tmp_path):
    generator = np.random.default_rng(0)
    for name, shape, dtype in (('rgb', (32, 32, 3), np.uint8),
                               ('depth', (32, 32), np.uint16),
                               ('thermal', (32, 32), np.uint8)):
        folder = tmp_path / 'data/floor/train' / name
        folder.mkdir(parents=True)
        for i in range(4):
            image = generator.integers(1, 250, shape).astype(dtype)
            assert cv2.imwrite(str(folder / f'{i}.png'), image)
    labels = tmp_path / 'data/floor/train/label'
    labels.mkdir()
    for i in range(4):
        label = generator.integers(0, 2, (32, 32)).astype(np.uint8)
        assert cv2.imwrite(str(labels / f'{i}.png'), label)
    hook = ("custom_hooks = [dict(type='mwam_mm.BalanceHook', "
            "weigher=dict(type='mwam_mm.MWAM'))]\n")
    out = run(tmp_path, CONFIGS['LoadAnnotations'] + hook)
    for name in ('rgb', 'depth', 'thermal'):
        assert f'train/balance/K_{name}' in out
