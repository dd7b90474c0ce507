"""Clips with optical flow: lists, loading, flipping, the embedded set."""
import re
from collections import Counter

import cv2
import numpy as np
import pytest
from mmcv.transforms import RandomFlip

from mwam_mm.datasets import (
    ClipDataset,
    FlipClip,
    LoadClip,
    MultiModalClsDataset,
    SceneClipDataset,
)
from mwam_mm.datasets.inspection import inspect_dataset
from mwam_mm.datasets.optical_flow import encode_flow, optical_flow

from ..stacks import needs_classification
from ..tiny_cls import train_shipped

FLOW = dict(channels=4, mean=127.5)
LAYOUT = dict(rgb=dict(channels=6), flow=FLOW)
LOAD = dict(type='mwam_mm.LoadClip', modalities=LAYOUT, num_frames=2)


def write_clip(root, name, frames=5, flows=4):
    """Frame i is 10 i + (0, 1, 2) in R, G, B, its u 100 + i, its v 200 + i."""
    for kind, count in (('frames', frames), ('flow/u', flows),
                        ('flow/v', flows)):
        folder = root / kind / name
        folder.mkdir(parents=True)
        for i in range(count):
            value = [10 * i + 2, 10 * i + 1, 10 * i] if kind == 'frames' else (
                100 if kind.endswith('u') else 200) + i
            image = np.full((6, 8, 3) if kind == 'frames' else (6, 8), value,
                            np.uint8)
            cv2.imwrite(str(folder / f'frame{i + 1:06d}.png'), image)


@pytest.fixture
def ucf(tmp_path):
    """Two classes in the layout of the publishers."""
    lists = tmp_path / 'ucfTrainTestlist'
    lists.mkdir()
    (lists / 'classInd.txt').write_text('1 Archery\n2 Biking\n')
    (lists / 'trainlist01.txt').write_text(
        'Archery/v_Archery_g08_c01.avi 1\nBiking/v_Biking_g09_c02.avi 2\n')
    (lists / 'testlist01.txt').write_text('Biking/v_Biking_g01_c01.avi\n')
    for name in ('v_Archery_g08_c01', 'v_Biking_g09_c02', 'v_Biking_g01_c01'):
        write_clip(tmp_path, name)
    return tmp_path


def test_split_files_and_stack(ucf):
    train = ClipDataset(str(ucf), pipeline=[LOAD])
    assert train.CLASSES == ('Archery', 'Biking')
    assert [train.get_cat_ids(i)[0] for i in range(2)] == [0, 1]
    test = ClipDataset(
        str(ucf), ann_file='ucfTrainTestlist/testlist01.txt', pipeline=[LOAD])
    sample, = test
    assert sample['gt_label'] == 1 and sample['img'].dtype == np.uint8
    # the middles of two segments of two frames with a flow each
    np.testing.assert_array_equal(
        sample['img'][0, 0], [10, 11, 12, 30, 31, 32, 101, 201, 103, 203])
    assert sample['flow_channels'] == ([6, 8], [7, 9])


@needs_classification
def test_the_config_of_ucf101_trains_and_evaluates(ucf, tmp_path):
    lists = ucf / 'ucfTrainTestlist'
    for split in ('train', 'test'):
        path = lists / f'{split}list01.txt'
        path.write_text(path.read_text() * 2)
    combinations = train_shipped('ucf101/two-stream-r18_md_mwam_ucf101.py',
                                 ucf, tmp_path / 'work')
    assert list(combinations) == ['rgb+flow', 'rgb', 'flow']
    assert all('accuracy/top1' in v['metrics'] for v in combinations.values())


@pytest.mark.parametrize('line, error, message', [
    ('Biking/v_Biking_g09_c02.avi 3', ValueError,
     'label 3, but {}/classInd.txt gives Biking the number 2 of 2'),
    ('Chess/v_Chess_g01_c01.avi 1', ValueError, "'Chess' is no class of"),
    ('v_Biking_g09_c02.avi', ValueError, 'should be "<class>/<clip>'),
    ('Biking/v_Biking_g99_c99.avi', FileNotFoundError,
     "v_Biking_g99_c99' does not exist"),
])
def test_a_bad_line_names_line_and_list(ucf, line, error, message):
    lists = ucf / 'ucfTrainTestlist'
    path = lists / 'trainlist01.txt'
    with path.open('a') as f:
        f.write(line + '\n')
    with pytest.raises(error, match=re.escape(message.format(lists))) as info:
        ClipDataset(str(ucf), pipeline=[LOAD])
    assert str(info.value).startswith(f'{path}, line 3')


def test_a_list_of_classes_that_skips_a_number(ucf):
    (ucf / 'ucfTrainTestlist/classInd.txt').write_text('1 Archery\n3 Biking\n')
    with pytest.raises(ValueError, match='classInd.txt, line 2 should be "2'):
        ClipDataset(str(ucf), pipeline=[LOAD])


def test_classes_in_another_order(ucf):
    with pytest.raises(ValueError, match="has the classes .*'Biking', 'Arch"):
        ClipDataset(
            str(ucf), metainfo=dict(classes=('Biking', 'Archery')))


def test_frames_are_drawn_from_their_segments():
    load = LoadClip(LAYOUT, num_frames=2, random=True)
    np.random.seed(0)
    drawn = Counter(tuple(load.sample_indices(6)) for _ in range(300))
    assert set(drawn) == {(a, b) for a in range(3) for b in range(3, 6)}
    fixed = LoadClip(LAYOUT, num_frames=2)
    assert fixed.sample_indices(6) == [1, 4]
    assert fixed.sample_indices(1) == [0, 0]  # fewer frames than segments


def test_frames_come_in_the_order_of_their_numbers(ucf):
    name = 'v_Biking_g01_c01'
    for folder in (ucf / 'frames' / name, ucf / 'flow/u' / name,
                   ucf / 'flow/v' / name):
        for number, file in enumerate(sorted(folder.iterdir()), 8):
            file.rename(folder / f'frame{number}.png')  # 8 to 12
    sample, = ClipDataset(
        str(ucf), ann_file='ucfTrainTestlist/testlist01.txt', pipeline=[LOAD])
    np.testing.assert_array_equal(
        sample['img'][0, 0], [10, 11, 12, 30, 31, 32, 101, 201, 103, 203])


def test_missing_flow_of_an_optional_modality(ucf):
    import shutil
    shutil.rmtree(ucf / 'flow/u/v_Biking_g01_c01')
    optional = dict(
        LOAD, modalities=dict(LAYOUT, flow=dict(FLOW, optional=True)))
    test = dict(ann_file='ucfTrainTestlist/testlist01.txt')
    sample, = ClipDataset(str(ucf), pipeline=[optional], **test)
    assert sample['absent_modalities'] == ('flow', )
    assert (sample['img'][..., 6:] == 0).all()
    with pytest.raises(FileNotFoundError, match='line 1: u_path'):
        ClipDataset(str(ucf), pipeline=[LOAD], **test)


def test_a_flow_too_few_is_an_error(ucf):
    (ucf / 'flow/u/v_Biking_g01_c01/frame000004.png').unlink()
    dataset = ClipDataset(
        str(ucf), ann_file='ucfTrainTestlist/testlist01.txt', pipeline=[LOAD])
    with pytest.raises(ValueError, match='a u and a v for each frame'):
        dataset[0]


@pytest.mark.parametrize('layout, message', [
    (dict(LAYOUT, rgb=dict(channels=3)), 'needs the channels'),
    (dict(depth=dict(channels=6)), 'needs the channels'),
    (dict(flow=dict(FLOW, scale=2)), 'leave out bgr_to_rgb'),
])
def test_layouts_that_are_not_of_clips(layout, message):
    with pytest.raises(ValueError, match=message):
        LoadClip(layout, num_frames=2)


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_flipping_turns_the_flow(direction):
    """The flow of mirrored frames is the mirrored flow."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(
        rng.integers(0, 256, (72, 72), np.uint8), (0, 0), 2)
    first, second = texture[4:68, 4:68], texture[2:66, 1:65]
    code = dict(horizontal=1, vertical=0, diagonal=-1)[direction]
    u, v = encode_flow(optical_flow(first, second), 8.)
    expected = encode_flow(
        optical_flow(cv2.flip(first, code), cv2.flip(second, code)), 8.)
    assert 160 < np.median(u) and 140 < np.median(v)  # it does move
    results = FlipClip(
        prob=1., direction=direction)(
            dict(img=np.dstack([first, u, v]), flow_channels=([1], [2])))
    flipped = results['img']
    np.testing.assert_array_equal(flipped[..., 0], cv2.flip(first, code))
    for c in (1, 2):
        assert abs(
            np.median(flipped[..., c]) - np.median(expected[c - 1])) <= 3


def test_a_stock_flip_is_refused_where_there_is_flow(ucf):
    flip = dict(type='RandomFlip', prob=0.5)
    with pytest.raises(ValueError, match='use mwam_mm.FlipClip'):
        ClipDataset(str(ucf), pipeline=[LOAD, flip])
    only_rgb = dict(LOAD, modalities=dict(rgb=LAYOUT['rgb']))
    dataset = ClipDataset(str(ucf), pipeline=[only_rgb, flip])
    assert isinstance(dataset.pipeline.transforms[1], RandomFlip)


@pytest.mark.parametrize('turn', [
    dict(type='RandomFlip', prob=0.5),
    dict(type='mwam_mm.FillWithMean', modalities=LAYOUT,
         transform=dict(type='mmseg.RandomRotate', prob=1., degree=20))
])
def test_clips_of_a_list_of_ones_own_are_not_turned_either(ucf, turn):
    (ucf / 'mine.txt').write_text(
        'frames/{0} flow/u/{0} flow/v/{0} run\n'.format('v_Biking_g01_c01'))
    settings = dict(
        data_root=str(ucf), ann_file='mine.txt',
        columns=('img_path', 'u_path', 'v_path'),
        metainfo=dict(classes=('run', 'walk')))
    with pytest.raises(ValueError, match='use mwam_mm.FlipClip'):
        MultiModalClsDataset(pipeline=[LOAD, turn], **settings)
    with pytest.raises(ValueError, match='use mwam_mm.FlipClip'):
        ClipDataset(str(ucf), pipeline=[LOAD, turn])
    flip = dict(type='mwam_mm.FlipClip', prob=1.)
    image = MultiModalClsDataset(pipeline=[LOAD, flip], **settings)[0]['img']
    # u and v of the middles of two segments of four frames
    assert image[0, 0, 6:].tolist() == [255 - 101, 201, 255 - 103, 203]


def test_the_check_of_files_is_for_images(ucf):
    dataset = dict(
        type='mwam_mm.ClipDataset', data_root=str(ucf), pipeline=[LOAD])
    with pytest.raises(ValueError, match='loads clips, and only images'):
        next(inspect_dataset(dataset))


@pytest.mark.parametrize('method', ['dis', 'farneback'])
def test_flow_images(method):
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(
        rng.integers(0, 256, (72, 72, 3), np.uint8), (0, 0), 2)
    flow = optical_flow(texture[4:68, 4:68], texture[4:68, 2:66], method)
    # what was at x is at x + 2
    assert np.median(flow[..., 0]) == pytest.approx(2, abs=0.2)
    assert np.median(flow[..., 1]) == pytest.approx(0, abs=0.2)
    u, v = encode_flow(flow, bound=4.)
    assert np.median(u) == pytest.approx(127.5 * 1.5, abs=7)
    with pytest.raises(ValueError, match="method='tvl1' is none of"):
        optical_flow(texture, texture, 'tvl1')
    with pytest.raises(ValueError, match='must be one'):
        optical_flow(texture, texture[1:])


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    root = tmp_path_factory.mktemp('clips')
    cfg = dict(
        scenes_root=str(root / 'scenes'),
        scene_cfg=dict(splits=dict(train=8)),
        splits=dict(train=10))
    return SceneClipDataset(
        str(root / 'clips'),
        clip_cfg=cfg,
        pipeline=[dict(LOAD, modalities=LAYOUT)])


def test_the_direction_is_in_the_flow_and_not_in_the_places(clips):
    assert Counter(s['gt_label'] for s in clips) == {i: 2 for i in range(5)}
    moves, places = {}, {}
    for sample in clips:
        u, v = (sample['img'][..., c].astype(float) - 127.5
                for c in sample['flow_channels'])
        label = sample['gt_label']
        if label < 3:  # up or down
            assert abs(v).sum() > 2 * abs(u).sum()
            continue
        assert abs(u).sum() > 2 * abs(v).sum()
        moves.setdefault(label, []).append(u.sum())
        across = np.abs(u).sum(0)
        middles = (across * np.arange(48)[:, None]).sum(0) / across.sum(0)
        places.setdefault(label, []).append(np.diff(middles))
    assert min(moves[3]) > 0 > max(moves[4])
    # from one frame to the next both ways
    found = np.concatenate(places[3] + places[4])
    assert found.min() < 0 < found.max()


def test_the_clips_are_rendered_once(clips):
    again = SceneClipDataset(clips.data_root, clip_cfg=clips.clip_cfg)
    assert len(again) == 10
    with pytest.raises(RuntimeError, match='seed=0 where 1 is wanted'):
        SceneClipDataset(
            clips.data_root, clip_cfg=dict(clips.clip_cfg, seed=1))
    with pytest.raises(ValueError, match='not a split of the clips'):
        SceneClipDataset(clips.data_root, split='test')
