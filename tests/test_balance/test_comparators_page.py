"""The configs of docs/comparators.md can be pasted."""
import re
from pathlib import Path

import pytest
from mmengine.config import Config

from mwam_mm.balance.builder import build_weigher
from mwam_mm.registry import HOOKS, INTERVENTIONS, WEIGHERS

TEXT = (Path(__file__).resolve().parents[2] / 'docs' /
        'comparators.md').read_text()
BLOCKS = [b for b in re.findall(r'```python\n(.*?)```', TEXT, re.S)
          if 'custom_hooks' in b]


@pytest.mark.parametrize('block', BLOCKS)
def test_a_config(block):
    cfg, = Config.fromstring(block, '.py').custom_hooks
    hook = HOOKS.build(cfg)
    weigher = build_weigher(hook.weigher_cfg, ['rgb', 'depth'])
    assert weigher.modalities == ('rgb', 'depth')


def test_every_method_has_its_config():
    assert len(BLOCKS) == 9
    for name in ('OGM', 'AGM', 'OPM', 'MSLR', 'MSES', 'Constant'):
        assert f"type='mwam_mm.{name}'" in TEXT and WEIGHERS.get(name)
    for name in ('noise', 'lfm', 'mmpareto', 'dropout', 'loss'):
        assert f"'{name}'" in TEXT and INTERVENTIONS.get(name)
