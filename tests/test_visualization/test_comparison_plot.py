"""Plot of trainings compared over seeds."""
import numpy as np

from mwam_mm.evaluation import build_comparison
from mwam_mm.visualization import plot_comparison

SCORES = {
    'plain': {0: dict(rgb=50., avg=65.), 1: dict(rgb=60., avg=71.)},
    'md': {0: dict(rgb=None, avg=66.), 1: dict(rgb=62., avg=66.)},
    'rgb_alone': {0: dict(rgb=55.), 1: dict(rgb=66.)},
}


def test_points_intervals_and_ceilings():
    comparison = build_comparison(
        SCORES, 'mIoU', ceilings=dict(rgb='rgb_alone'))
    rgb, avg = plot_comparison(comparison).axes
    assert [rgb.get_title(), avg.get_title()] == ['rgb', 'avg']
    assert [t.get_text() for t in rgb.get_yticklabels()] == list(SCORES)
    assert rgb.get_ylim()[0] > rgb.get_ylim()[1]  # the first row on top
    points = [line for line in rgb.lines if line.get_marker() == 'o']
    assert [list(p.get_xdata()) for p in points] == [[50, 60], [62], [55, 66]]
    assert [set(p.get_ydata()) for p in points] == [{0}, {1}, {2}]
    # No interval where a score is undefined.
    ends = [c.get_segments()[0] for c in rgb.collections]
    interval = comparison['rows']['plain']['rgb']['interval']
    np.testing.assert_allclose(
        ends[0], [(interval['low'], 0), (interval['high'], 0)])
    assert [end[0, 1] for end in ends] == [0, 2]
    ceiling, = (x for x in rgb.lines if x.get_linestyle() == '--')
    assert set(ceiling.get_xdata()) == {60.5}
    assert not any(x.get_linestyle() == '--' for x in avg.lines)
