"""Curves of K, FRM and the metric, from the logs of trainings."""
import json
import sys

import pytest

from mwam_mm.visualization import plot_balance, read_log

from .. import tiny


def write(folder, time, *lines):
    path = folder / time / 'vis_data' / f'{time}.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    # MMEngine writes them twice.
    (path.parent / 'scalars.json').write_text(path.read_text())
    return path


def weights(step, rgb):
    return {'mwam/K_rgb': rgb, 'mwam/K_near_ir': 2 - rgb,
            'mwam/FRM_rgb': 10 * rgb, 'mwam/FRM_near_ir': 20., 'loss': 1,
            'step': step}


def scores(step, value):
    return {'rgb+near_ir/mIoU': value, 'rgb/mIoU': value / 2,
            'near_ir/mIoU': None, 'avg/mIoU': value / 3,
            'emm_0.1/mIoU': 1., 'rgb/aAcc': 3., 'step': step}


@pytest.fixture
def run(tmp_path):
    """A run that was resumed after a cut in iteration 3."""
    folder = tmp_path / 'run'
    write(folder, '20260101_1', weights(1, .5), weights(2, .6), scores(0, 30),
          weights(3, .9))
    write(folder, '20260101_2', weights(3, .7), weights(4, .8), scores(0, 40))
    return folder


class TestLog:

    def test_iterations(self, run):
        """Also of validations that tell the epoch; null is left out."""
        curves = read_log(str(run))
        assert curves['mwam/K_rgb'] == {1: .5, 2: .6, 3: .7, 4: .8}
        assert curves['rgb/mIoU'] == {2: 15, 4: 20}
        assert 'near_ir/mIoU' not in curves and 'step' not in curves

    def test_one_file(self, run):
        path = run / '20260101_2/vis_data/20260101_2.json'
        assert read_log(str(path))['mwam/K_rgb'] == {3: .7, 4: .8}

    def test_run_that_began_anew(self, run):
        write(run, '20260101_3', weights(1, .1))
        assert read_log(str(run))['mwam/K_rgb'] == {1: .1}
        assert 'rgb/mIoU' not in read_log(str(run))

    def test_errors(self, tmp_path, run):
        with pytest.raises(FileNotFoundError, match='neither a log nor'):
            read_log(str(tmp_path))
        path = tmp_path / 'other.json'
        for text in ('{"rgb": 1}', '[1]', 'x'):
            path.write_text(text)
            with pytest.raises(ValueError, match='line 1 of .*other.json'):
                read_log(str(path))

    def test_log_of_a_training(self, tmp_path, on_cpu):
        tiny.train(tmp_path, mwam=dict(),
                   hook=dict(type='mwam_mm.MWAMHook'), max_iters=2)
        curves = read_log(str(tmp_path))
        assert list(curves['mwam/K_depth']) == [1, 2]
        assert len(plot_balance(dict(a=curves)).axes) == 2


def lines_of(axis):
    return [(line.get_color(), line.get_linestyle(), list(line.get_ydata()))
            for line in axis.get_lines()]


class TestPlot:

    def test_panels(self, run):
        curves = read_log(str(run))
        figure = plot_balance(dict(a=curves, b=dict(curves)))
        k, frm, metric = figure.axes
        assert [a.get_title() for a in figure.axes] == ['K', 'FRM', 'mIoU']
        assert frm.get_yscale() == 'log' and k.get_yscale() == 'linear'
        drawn = lines_of(k)
        assert [d[2] for d in drawn] == 2 * [
            [.5, .6, .7, .8], [1.5, 1.4, 1.3, 1.2]]
        # a colour is a modality, a style a run
        assert drawn[0][0] == drawn[2][0] != drawn[1][0]
        assert drawn[0][1] == drawn[1][1] != drawn[2][1]
        assert [d[2] for d in lines_of(metric)[:3]] == [
            [30, 40], [15, 20], [10, 40 / 3]]
        names = [t.get_text() for t in metric.get_legend().get_texts()]
        assert names == ['rgb+near_ir', 'rgb', 'avg']
        # rgb has one colour in all panels
        assert lines_of(metric)[1][0] == drawn[0][0]

    def test_modality_whose_name_ends_in_another(self):
        names = ('K_ir', 'K_near_ir', 'FRM_ir', 'FRM_near_ir', 'FRM_band1_ir')
        figure = plot_balance(
            dict(a={f'mwam/{name}': {1: i + 1.} for i, name in
                    enumerate(names)}))
        assert [a.get_title() for a in figure.axes] == [
            'K', 'FRM', 'FRM_band1']
        assert [d[2] for d in lines_of(figure.axes[1])] == [[3], [4]]

    def test_stock_metric_and_errors(self, run):
        figure = plot_balance(dict(a={'mIoU': {1: 2., 2: 3.}}))
        assert lines_of(figure.axes[0])[0][2] == [2, 3]
        figure = plot_balance(dict(a={'avg/accuracy/top1': {1: 4.}}))
        assert lines_of(figure.axes[0])[0][2] == [4]
        figure = plot_balance(dict(a=read_log(str(run))), 'aAcc')
        assert lines_of(figure.axes[-1])[0][2] == [3, 3]
        with pytest.raises(ValueError, match="no run has logged 'mAP'"):
            plot_balance(dict(a=read_log(str(run))), 'mAP')
        with pytest.raises(ValueError, match='neither K nor'):
            plot_balance(dict(a={'loss': {1: 2.}}))


def test_tool(run, tmp_path, monkeypatch, capsys):
    from ..benchmarks import load_tool
    write(tmp_path / 'b/run', '20260101_1', weights(1, .5))
    argv = ['plot_balance.py', str(run), str(tmp_path / 'b/run'), '--out',
            str(tmp_path / 'x.svg')]
    monkeypatch.setattr(sys, 'argv', argv)
    tool = load_tool('analysis_tools/plot_balance')
    tool.main()
    assert 'b/run' in tool.names_of(argv[1:3])
    assert b'<svg' in (tmp_path / 'x.svg').read_bytes()
    monkeypatch.setattr(sys, 'argv', [*argv, '--names', 'a', 'a'])
    with pytest.raises(SystemExit):
        tool.main()
    assert '2 runs need as many' in capsys.readouterr().err
