"""The configs of CASIA-SURF on a tree of a few generated faces."""

from ..stacks import needs_classification
from ..tiny_cls import train_shipped, write_casia_surf


@needs_classification
def test_trains_and_evaluates(tmp_path):
    combinations = train_shipped(
        'casia_surf/three-stream-r18_md_mwam_casia-surf.py',
        write_casia_surf(tmp_path / 'data'), tmp_path / 'work')
    assert len(combinations) == 7
    for values in combinations.values():
        assert values['samples'] == 4
        assert {'accuracy/top1', 'spoofing/ACER'} <= set(values['metrics'])
