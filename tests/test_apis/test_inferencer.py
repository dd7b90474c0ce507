"""MultiModalInferencer: files, arrays and folders by modality."""
import copy
import json
import tempfile

import cv2
import mmseg.apis
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from mmseg.structures import SegDataSample

from mwam_mm.apis import MultiModalInferencer, init_model
from mwam_mm.apis.inferencer import _as_json
from mwam_mm.stack import has_detection
from mwam_mm.visualization.panels import ABSENT, INVALID

from .conftest import (
    META,
    MODALITIES,
    seg_config,
    with_modalities,
    write_job,
    write_pair,
)


def labels(result):
    return result.pred_sem_seg.data[0].numpy()


def by_hand(config, checkpoint, pair, absent=()):
    """Label map of the model called on an image stacked here."""
    rgb = cv2.imread(pair['rgb']).astype(np.float32)
    depth = cv2.imread(pair['depth'], cv2.IMREAD_UNCHANGED)
    metres = depth * np.float32(0.001)
    metres[depth == 0] = 3
    stack = cv2.resize(np.dstack([rgb, metres]), (64, 48))
    stack = stack[..., [2, 1, 0, 3]]  # R, G, B, depth
    tensor = torch.from_numpy(stack.transpose(2, 0, 1).copy())
    mean = torch.tensor([128., 128, 128, 3]).view(-1, 1, 1)
    std = torch.tensor([64., 64, 64, 2]).view(-1, 1, 1)
    tensor = (tensor - mean) / std
    if 'rgb' in absent:
        tensor[:3] = 0
    if 'depth' in absent:
        tensor[3:] = 0
    padded = torch.nn.functional.pad(tensor, (0, 0, 0, 16))[None]
    model = init_model(config, checkpoint)
    with torch.no_grad():
        logits = model.encode_decode(
            padded, [dict(img_shape=(64, 64), ori_shape=rgb.shape[:2])])
    logits = torch.nn.functional.interpolate(
        logits[:, :, :48], rgb.shape[:2], mode='bilinear')
    return logits[0].argmax(0).numpy()


class TestOneSample:

    @pytest.mark.parametrize('absent', [(), ('depth', ), ('rgb', )])
    def test_equals_the_model_called_by_hand(self, seg_job, pair, absent):
        expected = by_hand(*seg_job, pair, absent)
        assert 0.02 < expected.mean() < 0.98  # both classes
        given = {k: v for k, v in pair.items() if k not in absent}
        result = MultiModalInferencer(*seg_job)(given)
        np.testing.assert_array_equal(labels(result), expected)
        assert result.metainfo['absent_modalities'] == absent
        assert 'seg_logits' not in result

    def test_combinations_differ(self, seg_job, pair):
        results = MultiModalInferencer(*seg_job)(pair, combinations='all')
        assert list(results) == ['rgb+depth', 'rgb', 'depth']
        for name, absent in (('rgb+depth', ()), ('rgb', ('depth', )),
                             ('depth', ('rgb', ))):
            np.testing.assert_array_equal(
                labels(results[name]), by_hand(*seg_job, pair, absent))
        assert (labels(results['rgb']) != labels(results['depth'])).any()

    def test_only_combinations_that_the_sample_has(self, seg_job, pair):
        results = MultiModalInferencer(*seg_job)(
            [dict(rgb=pair['rgb']), pair],
            combinations='all', batch_size=2, show_progress=False)
        assert [list(r) for r in results] == [
            ['rgb'], ['rgb+depth', 'rgb', 'depth']]

    def test_arrays_are_what_files_hold(self, seg_job, pair):
        arrays = {
            name: cv2.imread(path, cv2.IMREAD_UNCHANGED)
            for name, path in pair.items()
        }
        inferencer = MultiModalInferencer(*seg_job)
        expected = labels(inferencer(pair))
        np.testing.assert_array_equal(labels(inferencer(arrays)), expected)
        mixed = dict(rgb=pair['rgb'], depth=arrays['depth'])
        np.testing.assert_array_equal(labels(inferencer(**mixed)), expected)
        with pytest.raises(ValueError, match='depth.*has 3 channel'):
            inferencer(dict(rgb=arrays['rgb'], depth=arrays['rgb']))

    def test_errors_name_no_temporary_file(self, tmp_path, pair):
        cfg = seg_config()
        load = cfg['test_dataloader']['dataset']['pipeline'][0]
        load['resize_to'] = 'rgb'
        inferencer = MultiModalInferencer(*write_job(tmp_path, cfg))
        depth = np.full((40, 56), 3000, np.uint16)
        channels_first = np.zeros((3, 40, 56), np.uint8)
        for sample, message in (
            (dict(rgb=channels_first, depth=depth),
             r"'rgb'.*= \(array of shape \(3, 40, 56\)\) has 56 channel"),
            (dict(rgb=pair['rgb'], depth=channels_first),
             r"'depth'.*= \(array of shape \(3, 40, 56\)\) has 56 channel"),
            (dict(depth=depth), r"'rgb'.*= \(not given\) does not exist.*"
             r"resize_to='rgb'")):
            with pytest.raises((FileNotFoundError, ValueError),
                               match=message) as error:
                inferencer(sample)
            assert tempfile.gettempdir() not in str(error.value).replace(
                str(tmp_path), '')

    def test_modalities_of_one_file(self, tmp_path):
        modalities = dict(
            rgb=dict(MODALITIES['rgb'], file_channels=[0, 1, 2]),
            depth=dict(channels=1, mean=100., std=60., file_channels=[3],
                       path_key='img_path'))
        inferencer = MultiModalInferencer(
            *write_job(tmp_path, seg_config(modalities)))
        stack = np.random.default_rng(0).integers(
            0, 256, (40, 56, 4), np.uint8)
        np.save(tmp_path / 'a.npy', stack)
        path = str(tmp_path / 'a.npy')
        full = inferencer(rgb=path, depth=path)
        assert full.metainfo['absent_modalities'] == ()
        np.testing.assert_array_equal(
            labels(full), labels(inferencer(rgb=stack, depth=stack)))
        every = inferencer(rgb=path, depth=path, combinations='all')
        for name, absent in (('rgb', ('depth', )), ('depth', ('rgb', ))):
            one = inferencer({name: path})
            assert one.metainfo['absent_modalities'] == absent
            np.testing.assert_array_equal(labels(one), labels(every[name]))
        with pytest.raises(ValueError, match='lie in one file'):
            inferencer(rgb=path, depth=stack)


class TestErrors:

    @pytest.mark.parametrize('sample, error, message', [
        (dict(rgb='a.png', thermal='b.png'), ValueError,
         r"thermal.*but the modalities are \['rgb', 'depth'\]"),
        (dict(), ValueError, r"has no modality.*\['rgb', 'depth'\]"),
        (dict(rgb=None), ValueError, 'has no modality'),
        (dict(rgb='nowhere.png'), FileNotFoundError,
         "modality 'rgb': 'nowhere.png' does not exist.*leave the modality"),
        (dict(rgb=3), TypeError, "'rgb' must be a path or an array"),
        (dict(depth=np.ma.ones((4, 5))), TypeError,
         r"'depth' is a masked array: give array.filled.*invalid_value"),
        (dict(rgb=np.zeros((0, 5, 3), np.uint8)), ValueError,
         r'array of shape \(0, 5, 3\).*none of them 0'),
        ('a.png', TypeError, 'inputs must be a dict'),
        ([], TypeError, 'inputs must be a dict'),
        (['a.png'], TypeError, r'inputs\[0\] must be a dict'),
    ])
    def test_inputs(self, seg_job, pair, sample, error, message):
        with pytest.raises(error, match=message):
            MultiModalInferencer(*seg_job)(sample)

    def test_options(self, seg_job, pair):
        inferencer = MultiModalInferencer(*seg_job)
        with pytest.raises(ValueError, match='not both'):
            inferencer(pair, rgb='a.png')
        with pytest.raises(ValueError, match='batch_size'):
            inferencer(pair, batch_size=0)
        with pytest.raises(ValueError, match="names \\['x'\\]"):
            inferencer(pair, combinations=['rgb', 'x'])
        with pytest.raises(ValueError, match='takes no checkpoint'):
            MultiModalInferencer(inferencer.model, seg_job[1])

    def test_checkpoint_of_another_config(self, tmp_path, seg_job):
        other = seg_config()
        other['model']['decode_head']['channels'] = 4
        _, checkpoint = write_job(tmp_path / 'other', other)
        with pytest.raises(ValueError, match='not a checkpoint of this conf'):
            MultiModalInferencer(seg_job[0], checkpoint)
        weights = torch.load(seg_job[1])
        lost = next(n for n in weights['state_dict'] if 'neck' in n)
        del weights['state_dict'][lost]
        torch.save(weights, seg_job[1])
        with pytest.raises(ValueError, match=f'lacks 1 .*{lost}'):
            MultiModalInferencer(*seg_job)

    def test_checkpoint_that_is_none(self, tmp_path, seg_job):
        with open(seg_job[1], 'rb') as f:
            (tmp_path / 'cut.pth').write_bytes(f.read()[:1000])
        with pytest.raises(ValueError, match='cut.pth.*not the whole of one'):
            MultiModalInferencer(seg_job[0], str(tmp_path / 'cut.pth'))
        torch.save([torch.zeros(1)], tmp_path / 'list.pth')
        with pytest.raises(ValueError, match='list.pth holds no weights'):
            MultiModalInferencer(seg_job[0], str(tmp_path / 'list.pth'))

    def test_a_sample_without_any_measurement_is_named(self, tmp_path,
                                                       seg_job):
        blank = np.zeros((40, 56), np.uint16)
        assert cv2.imwrite(str(tmp_path / 'blank.png'), blank)
        inferencer = MultiModalInferencer(*seg_job)
        for depth, name in ((tmp_path / 'blank.png', 'blank.png'),
                            (blank, r'\(array of shape \(40, 56\)\)')):
            with pytest.raises(ValueError, match=f'{name} has none of the'):
                inferencer(depth=depth)

    def test_combinations_that_no_sample_has(self, seg_job, pair):
        inferencer = MultiModalInferencer(*seg_job)
        rgb = dict(rgb=pair['rgb'])
        with pytest.raises(ValueError, match=r"combinations \['rgb\+depth', "):
            inferencer(rgb, combinations=['rgb+depth', 'depth'])
        results = inferencer([rgb, pair], combinations=['depth'])
        assert [list(result) for result in results] == [[], ['depth']]

    def test_clips_are_no_files(self, seg_job):
        key = 'test_dataloader.dataset.pipeline.0.type'
        with pytest.raises(ValueError, match='loads clips'):
            MultiModalInferencer(
                *seg_job, cfg_options={key: 'mwam_mm.LoadClip'})

    def test_pipeline_of_other_modalities(self, tmp_path):
        cfg = seg_config()
        pipeline = cfg['test_dataloader']['dataset']['pipeline']
        pipeline[0] = dict(
            pipeline[0], modalities=dict(rgb=MODALITIES['rgb']))
        with pytest.raises(ValueError, match='loads other modalities'):
            MultiModalInferencer(*write_job(tmp_path, cfg))
        cfg['test_dataloader']['dataset'].pop('pipeline')
        with pytest.raises(ValueError, match='no test_dataloader'):
            MultiModalInferencer(*write_job(tmp_path, cfg))


@pytest.mark.parametrize('factor, warned', [(1, 0), (0.001, 1)])
def test_an_array_in_another_unit(seg_job, pair, monkeypatch, factor, warned):
    said = []
    monkeypatch.setattr(
        'mwam_mm.models.data_preprocessors.first_batches.print_log',
        lambda message, *args: said.append(message))
    # no holes, which resizing would mix with the measurements
    depth = np.random.default_rng(0).uniform(1000, 6000, (40, 56)) * factor
    inferencer = MultiModalInferencer(*seg_job)
    for _ in range(2):
        inferencer(dict(rgb=pair['rgb'], depth=depth))
    assert len(said) == warned
    assert all(message.startswith("modality 'depth'") for message in said)


class TestFolders:

    def test_twenty_pairs_equal_the_test_loop(self, tmp_path, seg_job):
        for i in range(20):
            name = f'{"ab"[i % 2]}/{i:02}'
            write_pair(tmp_path / f'data/rgb/{name}.png',
                       tmp_path / f'data/depth/{name}.png', seed=i)
            label = np.full((40, 56), i % 2, np.uint8)
            path = tmp_path / f'data/label/{name}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), label)
        (tmp_path / 'data/rgb/readme.txt').write_text('not an image')

        results = MultiModalInferencer(*seg_job)(
            rgb=str(tmp_path / 'data/rgb'),
            depth=str(tmp_path / 'data/depth'),
            combinations='all',
            batch_size=8,
            show_progress=False,
            out_dir=str(tmp_path / 'out'))
        assert len(results) == 20

        cfg = Config.fromfile(seg_job[0])
        cfg.merge_from_dict(
            dict(
                work_dir=str(tmp_path / 'work'),
                load_from=seg_job[1],
                log_level='WARNING',
                test_dataloader=dict(
                    batch_size=5,
                    dataset=dict(
                        data_root=str(tmp_path / 'data'),
                        data_prefix=dict(
                            img_path='rgb', depth_path='depth',
                            seg_map_path='label'),
                        img_suffix='.png',
                        metainfo=META)),
                test_cfg=dict(type='mwam_mm.MissingModalityTestLoop'),
                test_evaluator=dict(
                    type='IoUMetric', output_dir=str(tmp_path / 'loop'))))
        Runner.from_cfg(cfg).test()
        written = sorted((tmp_path / 'out/pred').rglob('*.png'))
        assert len(written) == 60
        for path in written:
            name = path.relative_to(tmp_path / 'out/pred')
            expected, image = (
                cv2.imread(str(p), cv2.IMREAD_UNCHANGED)
                for p in (tmp_path / 'loop' / name, path))
            assert image.dtype == np.uint8
            np.testing.assert_array_equal(image, expected)
        assert len(list((tmp_path / 'out/vis').rglob('*.png'))) == 20
        assert (tmp_path / 'out/vis/b/07.png').is_file()

    @pytest.mark.parametrize('split', ['test', 'val'])
    @pytest.mark.parametrize('options', [
        dict(file_names=dict(
            img_path='rgb_{}.png', depth_path='depth_{}.png')),
        dict(img_suffix='_c.png', modality_suffix=dict(depth_path='_d.png')),
    ])
    def test_names_of_the_dataset(self, tmp_path, options, split):
        names = ('rgb_{}', 'depth_{}') if 'file_names' in options else (
            '{}_c', '{}_d')
        pairs = []
        for i, stem in enumerate(('1', '2', 'sub/1')):
            pairs.append({})
            for modality, name in zip(('rgb', 'depth'), names):
                folder, base = (tmp_path / modality / stem).parent, stem[-1]
                pairs[i][modality] = folder / f'{name.format(base)}.png'
            write_pair(*pairs[i].values(), seed=i)
        cfg = seg_config()
        cfg['test_dataloader']['dataset'].update(options)
        cfg[f'{split}_dataloader'] = cfg.pop('test_dataloader')
        inferencer = MultiModalInferencer(*write_job(tmp_path / 'job', cfg))
        results = inferencer(
            rgb=str(tmp_path / 'rgb'), depth=str(tmp_path / 'depth'),
            out_dir=str(tmp_path / 'out'), show_progress=False, draw=False)
        assert len(results) == 3
        for pair, result in zip(pairs, results):
            np.testing.assert_array_equal(
                labels(result), labels(inferencer(pair)))
            out = tmp_path / 'out/pred' / pair['rgb'].relative_to(
                tmp_path / 'rgb')
            np.testing.assert_array_equal(
                cv2.imread(str(out), -1), labels(result))

    @pytest.mark.parametrize('optional', [True, False])
    @pytest.mark.parametrize('names', [
        ('rgb_{}.png', 'depth_{}.png', '{}_label.png'),
        ('rgb.png', 'depth.png', 'label.png')])
    def test_one_folder_for_all(self, tmp_path, names, optional):
        pairs = []
        for i in range(3):
            rgb, depth, label = (
                tmp_path / f'all/{i}' / name.format(i) for name in names)
            colors, _ = write_pair(rgb, depth, seed=i)
            assert cv2.imwrite(str(label), colors)
            pairs.append(dict(rgb=rgb, depth=depth))
        modalities = copy.deepcopy(MODALITIES)
        for fields in modalities.values():
            fields['optional'] = optional
        cfg = seg_config(modalities)
        cfg['test_dataloader']['dataset']['file_names'] = dict(
            zip(('img_path', 'depth_path', 'seg_map_path'), names))
        inferencer = MultiModalInferencer(*write_job(tmp_path / 'job', cfg))
        for chosen in (('rgb', 'depth'), ('rgb', )):
            results = inferencer(
                dict.fromkeys(chosen, tmp_path / 'all'), show_progress=False)
            assert len(results) == 3
            for pair, result in zip(pairs, results):
                sample = {name: pair[name] for name in chosen}
                np.testing.assert_array_equal(
                    labels(result), labels(inferencer(sample)))
        for pair in pairs:
            pair['rgb'].unlink()
        with pytest.raises(FileNotFoundError, match="no file for 'img_path'.*"
                           '6 files, such as .* are of other modalities'):
            inferencer(rgb=tmp_path / 'all')

    def test_missing_file_and_optional_modality(self, tmp_path):
        for i in range(3):
            write_pair(tmp_path / f'rgb/{i}.png', tmp_path / f'depth/{i}.png')
        (tmp_path / 'depth/1.png').unlink()
        folders = dict(
            rgb=str(tmp_path / 'rgb'), depth=str(tmp_path / 'depth'))
        inferencer = MultiModalInferencer(
            *write_job(tmp_path / 'a', seg_config()))
        with pytest.raises(FileNotFoundError,
                           match="'depth'.*1 of 3 samples, such as '1'"):
            inferencer(folders)
        modalities = copy.deepcopy(MODALITIES)
        modalities['depth']['optional'] = True
        inferencer = MultiModalInferencer(
            *write_job(tmp_path / 'b', seg_config(modalities)))
        results = inferencer(folders, show_progress=False)
        assert [r.metainfo['absent_modalities'] for r in results] == [
            (), ('depth', ), ()]
        # names that match nowhere are a mistake, not absent modalities
        for i in (0, 2):
            (tmp_path / f'depth/{i}.png').rename(
                tmp_path / f'depth/{i}_d.png')
        with pytest.raises(FileNotFoundError, match='matched by their path'):
            inferencer(folders)

    def test_folders_of_npz(self, tmp_path, seg_job, pair):
        depth = cv2.imread(str(pair['depth']), cv2.IMREAD_UNCHANGED)
        for name in ('rgb', 'depth'):
            (tmp_path / name).mkdir()
        np.savez(tmp_path / 'depth/a.npz', depth)
        cv2.imwrite(str(tmp_path / 'rgb/a.png'), cv2.imread(str(pair['rgb'])))
        inferencer = MultiModalInferencer(*seg_job)
        result, = inferencer(
            rgb=str(tmp_path / 'rgb'), depth=str(tmp_path / 'depth'),
            show_progress=False)
        np.testing.assert_array_equal(labels(result), labels(inferencer(pair)))

    def test_folder_errors(self, tmp_path, seg_job, pair):
        inferencer = MultiModalInferencer(*seg_job)
        (tmp_path / 'empty').mkdir()
        with pytest.raises(FileNotFoundError, match='has no image'):
            inferencer(rgb=str(tmp_path / 'empty'))
        with pytest.raises(ValueError, match="have folders, but \\['depth'"):
            inferencer(dict(pair, rgb=str(tmp_path)))
        with pytest.raises(ValueError, match='names folders'):
            inferencer([dict(rgb=str(tmp_path))])
        write_pair(tmp_path / 'two/x.png', tmp_path / 'two/x.tiff')
        with pytest.raises(ValueError, match='suffix only'):
            inferencer(rgb=str(tmp_path / 'two'))


class TestOutputs:

    def test_equal_names_in_different_folders(self, tmp_path, seg_job):
        samples = []
        for i, folder in enumerate('xyz'):
            write_pair(tmp_path / folder / 'rgb/1.png',
                       tmp_path / folder / 'depth/1.png', seed=i,
                       size=(40, 56 + 8 * i))
            samples.append(
                dict(rgb=tmp_path / folder / 'rgb/1.png',
                     depth=tmp_path / folder / 'depth/1.png'))
        inferencer = MultiModalInferencer(*seg_job)
        results = inferencer(
            samples, out_dir=str(tmp_path / 'out'), show_progress=False)
        for folder, result in zip('xyz', results):
            written = cv2.imread(
                str(tmp_path / f'out/pred/{folder}/rgb/1.png'),
                cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(written, labels(result))
        with pytest.raises(ValueError, match=r'inputs\[0\] and inputs\[3\]'):
            inferencer(samples + samples[:1], out_dir=str(tmp_path / 'o'))
        assert not (tmp_path / 'o').exists()

    @pytest.mark.parametrize('draw', [True, False])
    def test_inputs_are_not_overwritten(self, tmp_path, seg_job, draw):
        """Folders that are called as those of the outputs."""
        write_pair(tmp_path / 'data/vis/set/1.png',
                   tmp_path / 'data/d/set/1.png')
        before = (tmp_path / 'data/vis/set/1.png').read_bytes()
        (tmp_path / 'linked').symlink_to(tmp_path / 'data')
        inferencer = MultiModalInferencer(*seg_job)
        folders = dict(rgb=tmp_path / 'linked/vis', depth=tmp_path / 'data/d')

        def predict():
            inferencer(folders, out_dir=str(tmp_path / 'data'), draw=draw,
                       show_progress=False)

        if draw:
            with pytest.raises(ValueError, match="'rgb'.*linked/vis/set/1.png'"
                               " lies in .*data/vis'.*another out_dir"):
                predict()
            assert not (tmp_path / 'data/pred').exists()
        else:
            predict()
            assert (tmp_path / 'data/pred/set/1.png').exists()
        assert (tmp_path / 'data/vis/set/1.png').read_bytes() == before

    def test_outputs_are_no_inputs(self, tmp_path, seg_job):
        """The outputs of a call lie within the folder of the next one."""
        write_pair(tmp_path / 'rgb/1.png', tmp_path / 'd/1.png')
        inferencer = MultiModalInferencer(*seg_job)
        out = str(tmp_path / 'rgb/out')
        inferencer(rgb=tmp_path / 'rgb', out_dir=out, show_progress=False)
        with pytest.raises(ValueError, match='where the outputs are written'):
            inferencer(rgb=tmp_path / 'rgb', out_dir=out)

    def test_arrays_are_numbered(self, tmp_path, seg_job):
        images = np.zeros((2, 40, 56, 3), np.uint8)
        MultiModalInferencer(*seg_job)(
            [dict(rgb=image) for image in images],
            out_dir=str(tmp_path / 'out'), draw=False, show_progress=False)
        names = {p.name for p in (tmp_path / 'out').rglob('*.png')}
        assert names == {'000000.png', '000001.png'}
        assert not (tmp_path / 'out/vis').exists()

    def test_images_of_several_sizes_share_no_batch(self, tmp_path):
        cfg = seg_config()
        del cfg['test_dataloader']['dataset']['pipeline'][1]  # no resizing
        inferencer = MultiModalInferencer(*write_job(tmp_path, cfg))
        sizes = [(40, 56), (40, 56), (32, 64), (40, 56)]
        samples = []
        for i, size in enumerate(sizes):
            rgb, depth = write_pair(tmp_path / 'r.png', tmp_path / 'd.png',
                                    seed=i, size=size)
            samples.append(dict(rgb=rgb, depth=depth))
        together = inferencer(samples, batch_size=4, show_progress=False)
        for sample, size, result in zip(samples, sizes, together):
            assert labels(result).shape == size
            np.testing.assert_array_equal(
                labels(result), labels(inferencer(sample)))


class TestDrawing:

    def test_every_modality_truth_and_prediction(self, seg_job, pair):
        inferencer = MultiModalInferencer(*seg_job)
        result = inferencer(pair, combinations='all')
        truth = SegDataSample(
            gt_sem_seg=PixelData(data=torch.ones(1, 40, 56).long()))
        picture = inferencer.draw(pair, result, truth=truth)
        assert picture.dtype == np.uint8
        # six columns, each enlarged five times and with a margin
        assert picture.shape[1] == 6 * (5 * 56 + 4)
        columns = [
            picture[22:22 + 200:5, 4 + 284 * i:284 * (i + 1):5]
            for i in range(6)
        ]
        rgb = cv2.imread(pair['rgb'])[..., ::-1]
        np.testing.assert_array_equal(columns[0], rgb)
        hole = (columns[1] == INVALID).all(2)
        expected = np.zeros((40, 56), bool)
        expected[:10, :20] = True
        np.testing.assert_array_equal(hole, expected)
        colors = np.array(META['palette'], float)
        np.testing.assert_array_equal(
            columns[2], np.rint(0.4 * rgb + 0.6 * colors[1]))
        for column, one in zip(columns[3:], result.values()):
            np.testing.assert_array_equal(
                column, np.rint(0.4 * rgb + 0.6 * colors[labels(one)]))

    def test_a_measurement_equal_to_the_mean_is_no_hole(self, seg_job):
        depth = np.full((40, 56), 3000, np.uint16)  # the mean, 3 m
        depth[0, 0] = 0
        rgb = np.zeros((40, 56, 3), np.uint8)
        inferencer = MultiModalInferencer(*seg_job)
        sample = dict(rgb=rgb, depth=depth)
        picture = inferencer.draw(sample, inferencer(sample))
        column = picture[22:222:5, 4 + 284:284 * 2:5]
        assert (column == INVALID).all(2).sum() == 1

    def test_absent_modality_is_grey(self, seg_job, pair):
        inferencer = MultiModalInferencer(*seg_job)
        sample = dict(depth=pair['depth'])
        picture = inferencer.draw(sample, inferencer(sample))
        assert (picture[22:222, 4:284] == ABSENT).all()


class TestConfigs:

    def test_stock_init_model(self, seg_job, pair):
        model = mmseg.apis.init_model(*seg_job, device='cpu')
        expected = labels(MultiModalInferencer(*seg_job)(pair))
        np.testing.assert_array_equal(
            labels(MultiModalInferencer(model)(pair)), expected)
        model.cfg.test_pipeline = model.cfg.test_dataloader.dataset.pipeline
        with pytest.raises(KeyError, match='MultiModalInferencer'):
            mmseg.apis.inference_model(model, pair['rgb'])

    def test_recipe(self, tmp_path, pair):
        """The pipeline and the model that `mwam_mm.multimodal` builds."""
        cfg = seg_config()
        stock = cfg['model']
        branch = stock['backbone']['branch']
        branch['init_cfg'] = dict(type='Pretrained', checkpoint='gone.pth')
        base = dict(
            stock,
            data_preprocessor=dict(
                type='SegDataPreProcessor',
                size_divisor=32,
                test_cfg=dict(size_divisor=32)),
            backbone=branch)
        del base['neck']
        plain = dict(cfg['test_dataloader']['dataset']['pipeline'][1])
        pipeline = [
            dict(
                type='mwam_mm.multimodal',
                modalities=MODALITIES,
                transforms=[
                    dict(type='LoadImageFromFile'), plain,
                    dict(type='LoadAnnotations'),
                    dict(type='PackSegInputs')
                ])
        ]
        cfg['model'] = dict(
            type='mwam_mm.multimodal', base=base, modalities=MODALITIES,
            num_classes=2)
        cfg['test_pipeline'] = [  # the base's
            dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
        cfg['test_dataloader']['dataset']['pipeline'] = pipeline
        without = copy.deepcopy(cfg)
        del without['model']['base']['backbone']['init_cfg']
        _, checkpoint = write_job(tmp_path, without)
        Config(cfg).dump(str(tmp_path / 'job.py'))
        job = str(tmp_path / 'job.py'), checkpoint
        inferencer = MultiModalInferencer(*job)
        for absent in ((), ('depth', )):
            given = {k: v for k, v in pair.items() if k not in absent}
            np.testing.assert_array_equal(
                labels(inferencer(given)), by_hand(*job, pair, absent))
        model = mmseg.apis.init_model(
            Config(without), checkpoint, device='cpu')
        np.testing.assert_array_equal(
            labels(MultiModalInferencer(model)(pair)), by_hand(*job, pair))
        with pytest.raises(ValueError, match='MultiModalInferencer'):
            mmseg.apis.inference_model(model, pair['rgb'])
        cfg['model']['fusoin'] = 1
        with pytest.raises(TypeError, match="no arguments \\['fusoin'\\]"):
            init_model(Config(cfg))

    @pytest.mark.parametrize('metainfo', [None, dict(classes=('a', 'b'))])
    def test_classes_of_the_dataset(self, tmp_path, metainfo):
        from mwam_mm.datasets.scenes import CLASSES
        cfg = seg_config()
        dataset = cfg['test_dataloader']['dataset']
        dataset.update(type='mwam_mm.SceneDataset', data_root='nowhere')
        if metainfo:
            dataset['metainfo'] = metainfo
        model = init_model(*write_job(tmp_path, cfg, meta={}))
        expected = metainfo['classes'] if metainfo else CLASSES
        assert tuple(model.dataset_meta['classes']) == tuple(expected)

    def test_classes_of_a_concatenation(self, tmp_path, pair):
        """mmdet saves a list where datasets differ, if in the palette."""
        job = write_job(tmp_path, seg_config(),
                        [META, dict(META, palette=[[1, 1, 1]] * 2)])
        inferencer = MultiModalInferencer(*job)
        assert inferencer.model.dataset_meta == META
        inferencer(pair, out_dir=str(tmp_path / 'out'))

    def test_no_classes_at_all(self, tmp_path, pair):
        inferencer = MultiModalInferencer(
            *write_job(tmp_path / 'job', seg_config(), meta={}))
        result = inferencer(pair, out_dir=str(tmp_path / 'out'))
        written = cv2.imread(str(tmp_path / 'out/pred/a.png'),
                             cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(written, labels(result))


@pytest.mark.skipif(not has_detection(), reason='needs mmdet')
class TestDetection:

    @pytest.fixture
    def job(self, tmp_path):
        from .. import tiny_det
        cfg = dict(
            default_scope='mmdet',
            model=with_modalities(tiny_det.model(), MODALITIES),
            test_dataloader=dict(
                dataset=dict(
                    type='CocoDataset',
                    pipeline=[
                        dict(type='mwam_mm.LoadModalities',
                             modalities=MODALITIES),
                        dict(type='Resize', scale=(112, 80)),
                        dict(type='LoadAnnotations', with_bbox=True),
                        dict(type='PackDetInputs',
                             meta_keys=('img_id', 'img_path', 'ori_shape',
                                        'img_shape', 'scale_factor'))
                    ])))
        return write_job(tmp_path / 'job', cfg)

    def test_boxes_by_combination(self, tmp_path, job, pair):
        inferencer = MultiModalInferencer(*job)
        every = inferencer(pair, combinations='all',
                           out_dir=str(tmp_path / 'out'))
        assert list(every) == ['rgb+depth', 'rgb', 'depth']
        for name, result in every.items():
            given = {n: pair[n] for n in name.split('+')}
            one = inferencer(given)
            for key in ('bboxes', 'scores', 'labels'):
                torch.testing.assert_close(one.pred_instances[key],
                                           result.pred_instances[key])
            with open(tmp_path / f'out/pred/{name}/a.json') as file:
                written = json.load(file)
            boxes = torch.tensor(written['bboxes'])
            torch.testing.assert_close(boxes, result.pred_instances.bboxes)
            assert len(boxes) and boxes[:, 2].max() <= 56  # of the file
            assert written['labels'] == result.pred_instances.labels.tolist()
            assert written['names'] == [
                META['classes'][i] for i in written['labels']]
            torch.testing.assert_close(
                torch.tensor(written['scores']), result.pred_instances.scores)
        assert (tmp_path / 'out/vis/a.png').is_file()
        assert every['rgb'].pred_instances.scores.tolist() != (
            every['depth'].pred_instances.scores.tolist())

    def test_stock_init_detector(self, job, pair):
        from mmdet.apis import inference_detector, init_detector
        model = init_detector(*job, device='cpu')
        result = MultiModalInferencer(model)(pair).pred_instances
        expected = MultiModalInferencer(*job)(pair).pred_instances
        torch.testing.assert_close(result.bboxes, expected.bboxes)
        with pytest.raises(KeyError, match='MultiModalInferencer'):
            inference_detector(model, pair['rgb'])

    def test_masks_are_run_lengths(self):
        from pycocotools import mask
        masks = torch.zeros(2, 6, 8, dtype=torch.bool)
        masks[0, 1:3, 2:5] = masks[1, 5] = True
        written = json.loads(json.dumps(_as_json(
            BaseDataElement(
                pred_instances=InstanceData(
                    bboxes=torch.zeros(2, 4), scores=torch.ones(2),
                    labels=torch.tensor([1, 0]), masks=masks)), 'ab')))
        assert written['names'] == ['b', 'a']
        np.testing.assert_array_equal(
            [mask.decode(rle) for rle in written['masks']], masks)


def test_json_of_the_label_of_a_whole_image():
    label = BaseDataElement(
        pred_label=torch.tensor([1]), pred_score=torch.tensor([0.25, 0.75]))
    assert _as_json(label, ('fake', 'real')) == dict(
        labels=[1], scores=[0.25, 0.75], names=['real'])
    assert 'names' not in _as_json(label, None)
