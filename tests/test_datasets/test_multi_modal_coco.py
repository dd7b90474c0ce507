"""MultiModalCocoDataset and SceneDetDataset."""
import copy
import json
import os.path as osp

import numpy as np
import pytest
from mmengine.registry import init_default_scope

from mwam_mm.datasets.scenes import CLASSES, write_scenes
from mwam_mm.registry import DATASETS
from tests.benchmarks import write

pytest.importorskip('mmdet')
pytest.importorskip('mmcv.ops')

SIZE = 24, 32  # height, width
MODALITIES = dict(
    rgb=dict(channels=3, bgr_to_rgb=True),
    depth=dict(channels=1, scale=.001),
    thermal=dict(channels=1))
PREFIX = dict(
    img_path='image', depth_path='depth', thermal_path='thermal')
CONTENT = dict(
    images=[
        dict(id=7, file_name='a.jpg', height=24, width=32),
        dict(id=3, file_name='sub/b.jpg', height=24, width=32),
        dict(id=5, file_name='c.jpg', height=24, width=32),
    ],
    annotations=[
        dict(id=1, image_id=7, category_id=9, bbox=[1, 2, 10, 8], area=80,
             iscrowd=0),
        dict(id=2, image_id=7, category_id=4, bbox=[3.5, 4, 6, 5], area=30,
             iscrowd=1),
        dict(id=3, image_id=3, category_id=4, bbox=[0, 0, 32, 24], area=768,
             iscrowd=0),
    ],
    categories=[dict(id=9, name='car'), dict(id=4, name='person')])


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


@pytest.fixture
def content():
    return copy.deepcopy(CONTENT)


@pytest.fixture
def root(tmp_path):
    for value, name in enumerate(('a', 'sub/b', 'c')):
        write(tmp_path / f'image/{name}.jpg',
              np.full((*SIZE, 3), 10 * value, np.uint8))
        write(tmp_path / f'depth/{name}.png',
              np.full(SIZE, 1000 + value, np.uint16))
        write(tmp_path / f'thermal/{name}.tiff',
              np.full(SIZE, 50 + value, np.uint8))
    return tmp_path


def build(root, content=CONTENT, **kwargs):
    (root / 'ann.json').write_text(
        content if isinstance(content, str) else json.dumps(content))
    cfg = dict(
        type='mwam_mm.MultiModalCocoDataset',
        data_root=str(root),
        ann_file='ann.json',
        data_prefix=PREFIX,
        modality_suffix=dict(depth_path='.png', thermal_path='.tiff'),
        metainfo=dict(classes=('car', 'person')))
    cfg.update(kwargs)
    return DATASETS.build(cfg)


def pipeline(*transforms):
    return [
        dict(type='mwam_mm.LoadModalities', modalities=MODALITIES),
        dict(type='LoadAnnotations', with_bbox=True), *transforms
    ]


def test_parallel_folders(root):
    dataset = build(root)
    infos = [dataset.get_data_info(i) for i in range(3)]
    assert [info['img_id'] for info in infos] == [7, 3, 5]
    assert infos[1]['img_path'] == str(root / 'image/sub/b.jpg')
    assert infos[1]['depth_path'] == str(root / 'depth/sub/b.png')
    assert infos[1]['thermal_path'] == str(root / 'thermal/sub/b.tiff')
    car, person = infos[0]['instances']
    assert (car['bbox'], car['bbox_label'],
            car['ignore_flag']) == ([1, 2, 11, 10], 0, 0)
    assert (person['bbox'], person['bbox_label'],
            person['ignore_flag']) == ([3.5, 4, 9.5, 9], 1, 1)
    assert infos[2]['instances'] == []


def test_absolute_paths_lead_to_the_folder_of_each_modality(root, content):
    for image in content['images']:
        image['file_name'] = str(root / 'image' / image['file_name'])
    info = build(root, content).get_data_info(1)
    assert info['img_path'] == str(root / 'image/sub/b.jpg')
    assert info['depth_path'] == str(root / 'depth/sub/b.png')
    assert info['thermal_path'] == str(root / 'thermal/sub/b.tiff')


def test_paths_in_the_json(root, content):
    for image in content['images']:
        stem = osp.splitext(image['file_name'])[0]
        image['file_name'] = f'image/{stem}.jpg'
        image['depth_path'] = f'depth/{stem}.png'
        image['thermal_path'] = f'{stem}.tiff'
    dataset = build(
        root,
        content,
        data_prefix=dict(thermal_path='thermal'),
        modality_suffix={})
    info = dataset.get_data_info(1)
    assert info['img_path'] == str(root / 'image/sub/b.jpg')
    assert info['depth_path'] == str(root / 'depth/sub/b.png')
    assert info['thermal_path'] == str(root / 'thermal/sub/b.tiff')


def test_suffixes_besides_the_extension(root, content):
    content['images'] = [
        dict(id=7, file_name='a_co.png', height=24, width=32)
    ]
    content['annotations'] = content['annotations'][:2]
    kwargs = dict(
        data_prefix=dict(img='image', nir_path='image'),
        img_suffix='_co.png',
        modality_suffix=dict(nir_path='_ir.png'))
    info = build(root, content, **kwargs).get_data_info(0)
    assert info['nir_path'] == str(root / 'image/a_ir.png')
    with pytest.raises(ValueError, match="'a_co.png' does not end in"):
        build(root, content, **dict(kwargs, img_suffix='_rgb.png'))


def test_end_to_end(root):
    dataset = build(
        root,
        pipeline=pipeline(
            dict(type='RandomFlip', prob=1.), dict(type='PackDetInputs')))
    for value, sample in enumerate(dataset):
        assert sample['inputs'].shape == (5, *SIZE)
        np.testing.assert_allclose(
            sample['inputs'][3:, 0, 0], [1 + value / 1000, 50 + value],
            rtol=1e-6)
    sample = dataset[0]['data_samples']
    assert sample.gt_instances.bboxes.tensor.tolist() == [[21, 2, 31, 10]]
    assert sample.gt_instances.labels.tolist() == [0]
    assert sample.ignored_instances.labels.tolist() == [1]
    assert len(dataset[2]['data_samples'].gt_instances) == 0


def test_an_image_of_the_json_without_the_path_of_a_modality(root, content):
    """It lacks the modality, where that is optional."""
    for image in content['images']:
        stem = osp.splitext(image['file_name'])[0]
        image['depth_path'] = f'depth/{stem}.png'
    del content['images'][0]['depth_path']
    content['images'][1]['depth_path'] = None
    rgbd = {name: MODALITIES[name] for name in ('rgb', 'depth')}
    of_json = dict(data_prefix=dict(img_path='image'), modality_suffix={})

    def load(modalities):
        return build(root, content, **of_json, pipeline=[
            dict(type='mwam_mm.LoadModalities', modalities=modalities),
            dict(type='PackDetInputs')])

    with pytest.raises(KeyError, match=(
            r"sample '.*image/a.jpg' has \['img_path'")):
        load(rgbd)[0]
    dataset = load(dict(rgbd, depth=dict(rgbd['depth'], optional=True)))
    assert [dataset[i]['data_samples'].absent_modalities
            for i in range(3)] == [('depth', ), ('depth', ), ()]
    assert dataset[0]['inputs'][3:].count_nonzero() == 0
    # If none of the images has it, the config has forgotten something.
    for image in content['images']:
        image['depth_path'] = None
    with pytest.raises(KeyError, match="modality 'depth' needs results"):
        load(dict(rgbd, depth=dict(rgbd['depth'], optional=True)))[0]
    # With no rgb, the first file that there is stands for the image.
    content['images'][2]['depth_path'] = 'depth/c.png'
    dataset = build(root, content, data_prefix=dict(
        img_path='image', thermal_path='thermal'),
        modality_suffix=dict(thermal_path='.tiff'), pipeline=[
            dict(type='mwam_mm.LoadModalities', modalities=dict(
                depth=dict(channels=1, optional=True),
                thermal=dict(channels=1)))])
    assert dataset.get_data_info(0)['img_path'].endswith('thermal/a.tiff')


def test_sizes_that_are_no_numbers(root, content):
    content['images'][0]['height'] = '24'
    with pytest.raises(ValueError, match="'a.jpg' has height, width = .'24'"):
        build(root, content)


def test_a_missing_file_of_an_optional_modality(root):
    (root / 'thermal/c.tiff').unlink()
    modalities = dict(MODALITIES, thermal=dict(channels=1, optional=True))
    keys = ('img_id', 'absent_modalities')
    transforms = [
        dict(type='mwam_mm.LoadModalities', modalities=modalities),
        dict(type='PackDetInputs', meta_keys=keys)
    ]
    dataset = build(root, pipeline=transforms)
    assert dataset[2]['data_samples'].absent_modalities == ('thermal', )
    assert dataset[1]['data_samples'].absent_modalities == ()
    with pytest.raises(FileNotFoundError, match=r'thermal.c\.tiff'):
        build(root, pipeline=pipeline())[2]


@pytest.mark.parametrize('filter_cfg, ids', [
    (None, [7, 3, 5]),
    (dict(filter_empty_gt=False), [7, 3, 5]),
    (dict(filter_empty_gt=True), [7, 3]),
])
def test_images_without_boxes(root, filter_cfg, ids):
    dataset = build(root, filter_cfg=filter_cfg)
    assert [dataset.get_data_info(i)['img_id']
            for i in range(len(dataset))] == ids
    # Evaluation keeps every image.
    assert len(build(root, filter_cfg=filter_cfg, test_mode=True)) == 3


def test_a_filter_that_leaves_nothing(root):
    with pytest.raises(ValueError, match='leaves none of 3 images'):
        build(root, filter_cfg=dict(min_size=25))


def test_classes_of_the_json(root):
    dataset = build(root, metainfo=None)
    assert dataset.metainfo['classes'] == ('car', 'person')
    assert dataset.get_data_info(1)['instances'][0]['bbox_label'] == 1


def test_ignored_classes(root):
    dataset = build(
        root, metainfo=dict(classes=('person', )), ignored_classes=['car'])
    instances = dataset.get_data_info(0)['instances']
    assert [i['bbox_label'] for i in instances] == [0]
    assert instances[0]['bbox'] == [3.5, 4, 9.5, 9]


@pytest.mark.parametrize('classes, ignored, message', [
    (('car', ), (), r"ann\.json.*category 'person', which is no class"),
    (('car', 'person', 'bus'), (), r"no category for the class 'bus'"),
    (('car', 'person'), ('bus', ), "no category for the class 'bus'"),
    (('person', 'car'), (), 'another order'),
])
def test_classes_that_do_not_fit(root, classes, ignored, message):
    with pytest.raises(ValueError, match=message):
        build(
            root, metainfo=dict(classes=classes), ignored_classes=ignored)


def test_a_category_twice(root, content):
    content['categories'].append(dict(id=11, name='car'))
    with pytest.raises(ValueError, match='category twice'):
        build(root, content)


def test_json_of_another_image_size(root, content):
    content['images'][0].update(height=160, width=200)
    dataset = build(root, content, pipeline=pipeline())
    with pytest.raises(ValueError, match=r"a.jpg' has .*\(160, 200\)"):
        dataset[0]
    dataset[1]


def test_masks(root, content):
    """Masks are loaded of boxes that all have one, or are an error."""
    transforms = pipeline(dict(type='PackDetInputs', meta_keys=()))
    transforms[1]['with_mask'] = True
    for annotation in content['annotations']:
        x, y, w, h = annotation['bbox']
        annotation['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    sample = build(root, content, pipeline=transforms)[1]
    masks = sample['data_samples'].gt_instances.masks.to_ndarray()
    assert masks.shape == (1, *SIZE) and masks.mean() > 0.8
    del content['annotations'][2]['segmentation']
    with pytest.raises(
            ValueError,
            match=r'with_mask=True.*sub/b\.jpg.*32.* has no segmentation'):
        build(root, content, pipeline=transforms)
    build(root, content, pipeline=pipeline())


@pytest.fixture
def log(monkeypatch):
    from mwam_mm.datasets import multi_modal_coco
    lines = []
    monkeypatch.setattr(multi_modal_coco, 'print_log',
                        lambda message, **kwargs: lines.append(message))
    return lines


def test_boxes_that_reach_out_are_clipped(root, content, log):
    content['annotations'][0]['bbox'] = [-4, 20, 10, 8]
    content['annotations'][2]['bbox'] = [30, 0, 2.001, 24]
    dataset = build(root, content)
    box = dataset.get_data_info(0)['instances'][0]['bbox']
    assert box == [0, 20, 6, 24]
    assert dataset.get_data_info(1)['instances'][0]['bbox'] == [30, 0, 32, 24]
    message, = log  # a hundredth of a pixel is not worth one
    assert message.startswith('1 box(es) reach out')
    assert 'annotation 1 of image 7' in message and 'a.jpg' in message


def test_boxes_to_ignore_and_of_negative_area_are_kept(root, content, log):
    content['annotations'][0]['ignore'] = 1
    content['annotations'][2]['area'] = -12.5  # of a polygon turned round
    dataset = build(root, content)
    flags = [
        instance['ignore_flag'] for i in range(2)
        for instance in dataset.get_data_info(i)['instances']
    ]
    assert flags == [1, 1, 0] and not log


def test_boxes_below_a_pixel_are_left_out(root, content, log):
    content['annotations'][0]['bbox'] = [31.5, 3, 9, 9]
    dataset = build(root, content, filter_cfg=dict(filter_empty_gt=True))
    assert len(dataset.get_data_info(0)['instances']) == 1
    assert any('smaller than a pixel' in line for line in log)


def test_polygons_that_are_none(root, content, log, monkeypatch):
    """pycocotools would fail on four numbers in the first validation."""
    from mwam_mm.datasets import MultiModalCocoDataset
    content['annotations'][1]['segmentation'] = [[1, 1, 5, 1, 5, 5]]
    content['annotations'][0]['segmentation'] = [[1, 1, 5, 1, 5, 5],
                                                 [1, 2, 10, 8]]
    # Publishers' files cannot be corrected.
    monkeypatch.setattr(MultiModalCocoDataset, 'STRICT', False)
    instances = build(root, content).get_data_info(0)['instances']
    assert ['mask' in instance for instance in instances] == [False, True]
    assert any('have no mask' in line and 'annotation 1' in line
               for line in log)


@pytest.mark.parametrize('index, change, message', [
    (0, dict(segmentation=[[1, 2, 10, 8]]), r'ann\.json.*annotation 1 of '
     r"image 7 \('a\.jpg'\).*segmentation=\[\[1, 2, 10, 8\]\].*three points"),
    (0, dict(segmentation=[[1, 2, 10, 8, 1, 2, 3]]), 'three points'),
    (0, dict(segmentation=[1, 2, 10, 8, 1, 2]), 'three points'),
    (0, dict(bbox=[40, 2, 5, 5]), r'ann\.json.*annotation 1 of image 7 '
     r"\('a\.jpg'\).*outside the image of 32 x 24"),
    (0, dict(bbox=[4, 2, 0, 5]), 'no area'),
    (0, dict(bbox=[4, 2, 5, -1]), 'no area'),
    (0, dict(bbox=[4, 2, 5]), r'expected \[x, y'),
    (0, dict(bbox=[4, 2, 5, float('nan')]), 'nan'),
    (1, dict(category_id=5), 'category_id=5'),
    (1, dict(image_id=55), 'annotation 2 has image_id=55'),
    (2, dict(id=1), 'two annotations have id=1, of the images 7 and 3'),
])
def test_bad_annotations(root, content, index, change, message):
    content['annotations'][index].update(change)
    with pytest.raises(ValueError, match=message):
        build(root, content)


def test_bad_json(root, content):
    with pytest.raises(ValueError, match=r"ann\.json' is not a json file"):
        build(root, '{"images": [')
    with pytest.raises(ValueError, match='is not a COCO json'):
        build(root, dict(images=[], annotations={}))
    with pytest.raises(ValueError, match='has no image'):
        build(root, dict(content, images=[], annotations=[]))
    with pytest.raises(FileNotFoundError, match='nowhere.json'):
        build(root, ann_file='nowhere.json')
    content['images'][1]['id'] = 7
    with pytest.raises(ValueError, match="'a.jpg' and 'sub/b.jpg'"):
        build(root, content)
    content['images'][1].update(id=3, file_name='a.jpg')
    with pytest.raises(ValueError, match="images 7 and 3 are one file, 'a.jp"):
        build(root, content)
    del content['images'][1]['height']
    with pytest.raises(ValueError, match="'height'"):
        build(root, content)


@pytest.mark.parametrize('kwargs, match', [
    (dict(data_prefix=dict(PREFIX, depth='depth')), "'depth'"),
    (dict(modality_suffix=dict(nir_path='.png')), 'nir_path'),
    (dict(pipeline=pipeline(dict(type='PhotoMetricDistortion'))),
     'PhotoMetricDistortion'),
])
def test_bad_settings(root, kwargs, match):
    with pytest.raises(ValueError, match=match):
        build(root, **kwargs)


def test_scenes(tmp_path):
    settings = dict(splits=dict(train=2, val=1), height=48, width=64)
    write_scenes(str(tmp_path / 'scenes'), **settings)
    cfg = dict(
        type='mwam_mm.SceneDetDataset',
        data_root=str(tmp_path / 'scenes'),
        scene_cfg=settings,
        pipeline=pipeline(dict(type='PackDetInputs')))
    dataset = DATASETS.build(cfg)
    assert dataset.metainfo['classes'] == CLASSES[1:]
    assert len(dataset) == 2 and len(dataset.metainfo['palette']) == 7
    truth = json.loads(
        (tmp_path / 'scenes/annotations/train.json').read_text())
    names = {c['id']: c['name'] for c in truth['categories']}
    boxes = [a for a in truth['annotations'] if a['image_id'] == 0]
    instances = dataset.get_data_info(0)['instances']
    assert [CLASSES[1:][i['bbox_label']] for i in instances
            ] == [names[a['category_id']] for a in boxes]
    assert all('mask' in i for i in instances)
    assert dataset[1]['inputs'].shape == (5, 48, 64)
    with pytest.raises(ValueError, match="'test' is not a split"):
        DATASETS.build(dict(cfg, split='test'))


def test_no_modality_is_called_rgb(root):
    """Where the json has no RGB images, as with depth and thermal."""
    dataset = build(
        root,
        data_prefix=dict(depth_path='depth', thermal_path='thermal'),
        pipeline=[
            dict(
                type='mwam_mm.LoadModalities',
                modalities=dict(
                    depth=dict(channels=1), thermal=dict(channels=1)))
        ])
    assert [d['img'][0, 0].tolist() for d in dataset] == [
        [1000 + i, 50 + i] for i in range(3)]
    for data in dataset:
        assert data['img_path'] == data['depth_path']
        assert osp.isfile(data['img_path'])
