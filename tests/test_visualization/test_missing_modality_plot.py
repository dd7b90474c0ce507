"""Bar plot of a missing-modality report."""
import numpy as np
import pytest

from mwam_mm.evaluation import build_report
from mwam_mm.visualization import plot_missing_modality

SCORES = {
    'rgb+depth': dict(mIoU=50., mAcc=60.),
    'rgb': dict(mIoU=40., mAcc=45.),
    'depth': dict(mIoU=30., mAcc=54.)
}
SAMPLES = dict.fromkeys(SCORES, 4)


def test_bars_labels_and_average():
    report = build_report(SCORES, SAMPLES, ['rgb', 'depth'],
                          ['mIoU', 'mAcc'])
    panels = plot_missing_modality(report).axes
    assert [panel.get_ylabel() for panel in panels] == ['mIoU', 'mAcc']
    for panel, heights, average, changes in (
        (panels[0], [50, 40, 30], 40, ['20.0', '40.0']),
        (panels[1], [60, 45, 54], 53, ['25.0', '10.0'])):
        assert [bar.get_height() for bar in panel.patches] == heights
        assert [t.get_text() for t in panel.get_xticklabels()] == list(SCORES)
        np.testing.assert_allclose(panel.lines[0].get_ydata(), average)
        labels = [text.get_text() for text in panel.texts]
        assert 'PCR' not in labels[0]
        for label, change in zip(labels[1:], changes):
            assert f'PCR {change} %' in label


@pytest.mark.parametrize('value', [None, float('nan')])
def test_undefined_scores(value):
    scores = dict(SCORES, depth=dict(mIoU=value))
    report = build_report(scores, SAMPLES, ['rgb', 'depth'])
    panel, = plot_missing_modality(report).axes
    assert [bar.get_height() for bar in panel.patches] == [50, 40, 0]
    assert panel.texts[2].get_text() == 'n/a'
    assert not panel.lines


def test_arrow_where_lower_is_better():
    scores = {name: dict(MAE=value['mIoU']) for name, value in SCORES.items()}
    report = build_report(scores, SAMPLES, ['rgb', 'depth'])
    panel, = plot_missing_modality(report).axes
    assert panel.get_ylabel() == 'MAE ↓'
    assert 'PCR -20.0 %' in panel.texts[1].get_text()


def test_no_pyplot_state():
    plt = pytest.importorskip('matplotlib.pyplot')
    plot_missing_modality(build_report(SCORES, SAMPLES, ['rgb', 'depth']))
    assert not plt.get_fignums()
