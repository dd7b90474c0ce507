"""The public detection benchmarks, on miniatures of the published trees."""
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from tests import det_benchmarks as mini
from tests.benchmarks import REPO

pytest.importorskip('mmdet')
pytest.importorskip('mmcv.ops')
from mmdet.registry import TASK_UTILS  # noqa: E402

from mwam_mm.datasets import (  # noqa: E402
    DroneVehicleDataset,
    FLIRAlignedDataset,
    KAISTDataset,
    LLVIPDataset,
    M3FDDataset,
    MultiModalCocoDataset,
    VEDAIDataset,
)


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


def boxes(dataset, index=0, ignored=False):
    """Class to its boxes in a sample."""
    found = {}
    for instance in dataset.get_data_info(index)['instances']:
        if instance['ignore_flag'] == ignored:
            found.setdefault(
                dataset.metainfo['classes'][instance['bbox_label']],
                []).append(instance['bbox'])
    return found


def stems(dataset, key='img_path'):
    return [
        dataset.get_data_info(i)[key].split('/')[-1].split('.')[0]
        for i in range(len(dataset))
    ]


def test_llvip(tmp_path):
    root = mini.write_llvip(tmp_path / 'llvip')
    dataset = LLVIPDataset(str(root))
    assert stems(dataset) == ['010001', '010002', '010003']
    assert stems(dataset) == stems(dataset, 'infrared_path')
    assert dataset.get_data_info(0)['infrared_path'] == str(
        root / 'infrared/train/010001.jpg')
    assert boxes(dataset) == dict(person=[[4, 5, 24, 40], [30, 2, 41, 30]])
    assert boxes(dataset, 1) == dict(person=[[5, 5, 25, 40]])
    assert dataset.get_data_info(0)['height'] == mini.SIZE[0]
    assert len(LLVIPDataset(str(root), 'test')) == 2


def test_flir_aligned(tmp_path):
    root = mini.write_flir_aligned(tmp_path / 'align')
    dataset = FLIRAlignedDataset(str(root))
    info = dataset.get_data_info(0)
    assert info['img_path'] == str(root / 'JPEGImages/FLIR_00002_RGB.jpg')
    assert info['thermal_path'] == str(
        root / 'JPEGImages/FLIR_00002_PreviewData.jpeg')
    assert dataset.metainfo['classes'] == ('person', 'car', 'bicycle')
    assert boxes(dataset) == dict(  # and no dog
        person=[[50, 3, 58, 24]], car=[[4, 5, 44, 30]],
        bicycle=[[30, 20, 50, 44]])
    assert len(FLIRAlignedDataset(str(root), 'validation')) == 2


def test_m3fd_split(tmp_path):
    root = mini.write_m3fd(tmp_path / 'm3fd')
    assert stems(M3FDDataset(str(root), 'val')) == ['00000', '00005']
    dataset = M3FDDataset(str(root), 'train')
    assert stems(dataset) == ['00001', '00002', '00003', '00004']
    assert boxes(dataset) == dict(
        Car=[[3, 4, 33, 40]], People=[[40, 5, 50, 45]])
    (root / 'meta').mkdir()
    (root / 'meta/train.txt').write_text('00004.png\n00000.png\n')
    assert stems(M3FDDataset(str(root), 'train')) == ['00004', '00000']
    with pytest.raises(FileNotFoundError, match=r'meta.val\.txt'):
        M3FDDataset(str(root), 'val')
    (root / 'meta/val.txt').write_text('00009.png\n')
    with pytest.raises(FileNotFoundError, match="'00009.png'"):
        M3FDDataset(str(root), 'val')


def test_kaist(tmp_path):
    root = mini.write_kaist(tmp_path / 'kaist')
    dataset = KAISTDataset(str(root))
    info = dataset.get_data_info(0)
    assert info['img_path'] == str(
        root / 'images/set00/V000/visible/I00001.jpg')
    assert info['thermal_path'] == str(
        root / 'images/set00/V000/lwir/I00001.jpg')
    assert boxes(dataset) == dict(person=[[4, 5, 16, 35]])
    assert boxes(dataset, ignored=True) == dict(
        person=[[30, 5, 50, 35], [52, 8, 62, 28], [2, 36, 22, 46]])
    # the text files also mark persons to ignore
    test = KAISTDataset(str(root), 'test')
    assert boxes(test) == boxes(dataset)
    assert [40, 2, 48, 22] in boxes(test, ignored=True)['person']

    assert len(KAISTDataset(str(root), subset='day')) == 2
    assert stems(KAISTDataset(str(root), subset='night')) == ['I00005']
    with pytest.raises(ValueError, match="'noon'"):
        KAISTDataset(str(root), subset='noon')


def test_kaist_has_its_improved_annotations_for_testing(
        tmp_path, monkeypatch):
    root = mini.write_kaist(tmp_path / 'kaist')
    expected = boxes(KAISTDataset(str(root), 'test'))
    # as published: it has all frames, those for testing too
    for frame in ('set06/V000/I00019', 'set09/V000/I00039'):
        path = root / 'annotations-xml-new' / f'{frame}.xml'
        path.parent.mkdir(parents=True)
        path.write_text('<annotation></annotation>')
    (root / 'annotations/set09/V000/I00039.txt').unlink()
    (root / 'annotations').rename(root / 'annotations-improved')
    logged = []
    monkeypatch.setattr('mwam_mm.datasets.kaist.print_log',
                        lambda text, **kwargs: logged.append(text))
    test = KAISTDataset(str(root), 'test')
    assert boxes(test) == expected and boxes(test, 1) == {}
    assert ('from annotations-improved (1), '
            'annotations-xml-new (1)') in logged[0]


def test_kaist_trains_ignored_boxes_as_no_background(tmp_path):
    cfg = Config.fromfile(
        str(REPO / 'configs/kaist/two-stream-retinanet-r50_md_kaist.py'))
    dataset = KAISTDataset(
        str(mini.write_kaist(tmp_path / 'kaist')),
        pipeline=[*cfg.train_pipeline[:2], dict(type='PackDetInputs')])
    sample = dataset[0]['data_samples']
    truth, ignored = (
        InstanceData(
            bboxes=instances.bboxes.tensor, labels=instances.labels)
        for instances in (sample.gt_instances, sample.ignored_instances))
    # Within "people", on "person" and between them
    priors = torch.tensor([[31., 6, 49, 34], [4, 5, 16, 35], [17, 2, 29, 34]])
    assigner = TASK_UTILS.build(cfg.model.train_cfg.assigner)
    assigned = assigner.assign(InstanceData(priors=priors), truth, ignored)
    assert assigned.gt_inds.tolist() == [-1, 1, 0]


def test_a_list_with_a_byte_order_mark(tmp_path):
    root = mini.write_kaist(tmp_path / 'kaist')
    path = root / 'imageSets/test-all-20.txt'
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
    assert stems(KAISTDataset(str(root), 'test')) == ['I00019', 'I00039']


def test_kaist_bad_files(tmp_path):
    root = mini.write_kaist(tmp_path / 'kaist')
    path = root / 'annotations/set06/V000/I00019.txt'
    path.write_text('% bbGt version=3\nperson 4 5 twelve 30 0 0 0 0 0 0 0\n')
    with pytest.raises(ValueError, match=r"I00019\.txt', line 2: 'twelve'"):
        KAISTDataset(str(root), 'test')
    path.write_text('person 4 5 12\n')
    with pytest.raises(ValueError, match='line 1 has 4 fields'):
        KAISTDataset(str(root), 'test')
    path.unlink()
    with pytest.raises(FileNotFoundError, match='sanitized.*I00019.xml'):
        KAISTDataset(str(root), 'test')


def test_drone_vehicle(tmp_path):
    root = mini.write_drone_vehicle(tmp_path / 'drone')
    dataset = DroneVehicleDataset(str(root))
    info = dataset.get_data_info(0)
    assert info['infrared_path'] == str(root / 'train/trainimgr/00001.jpg')
    assert (info['height'], info['width']) == mini.SIZE
    assert boxes(dataset) == dict(
        car=[[20, 10, 40, 30]],  # around the diamond
        freight_car=[[42, 12, 60, 40]],
        bus=[[0, 4, 12, 16]],  # half in the border
        truck=[[2, 30, 18, 45]])  # published as an upright box
    assert boxes(dataset, 2)['truck'] == [[42, 12, 60, 40], [2, 30, 18, 45]]
    # '*' is left out
    assert set(boxes(DroneVehicleDataset(str(root), 'val'))) == {
        'car', 'bus', 'truck'
    }
    rgb = DroneVehicleDataset(str(root), labels='rgb')
    assert boxes(rgb) == dict(car=[[20, 10, 40, 30]])
    with pytest.raises(ValueError, match="'thermal'"):
        DroneVehicleDataset(str(root), labels='thermal')


def test_drone_vehicle_border_is_cut_off(tmp_path):
    root = mini.write_drone_vehicle(tmp_path / 'drone')
    modalities = dict(
        rgb=dict(channels=3), infrared=dict(channels=1, file_channels=[0]))
    dataset = DroneVehicleDataset(
        str(root),
        pipeline=[
            dict(
                type='mwam_mm.LoadModalities',
                modalities=modalities,
                border=100),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='PackDetInputs')
        ])
    sample = dataset[0]
    assert sample['inputs'].shape == (4, *mini.SIZE)
    # The frame is white, the noise inside is not.
    assert abs(sample['inputs'].float().mean() - 127.5) < 15
    assert sample['data_samples'].ori_shape == mini.SIZE


def test_drone_vehicle_without_the_border(tmp_path):
    """Cropped copies go around, whose boxes are not the published ones."""
    root = mini.write_drone_vehicle(tmp_path / 'drone')
    for suffix in ('img', 'imgr'):
        mini.write(root / f'train/train{suffix}/00001.jpg',
                   np.zeros((512, 640, 3), np.uint8))
    with pytest.raises(ValueError, match=r'00001\.jpg.*without the border'):
        DroneVehicleDataset(str(root))


@pytest.mark.parametrize('resolution, scale', [(1024, 1), (512, .5)])
def test_vedai(tmp_path, resolution, scale):
    root = mini.write_vedai(tmp_path / 'vedai')
    dataset = VEDAIDataset(str(root), resolution=resolution)
    info = dataset.get_data_info(0)
    assert info['img_path'] == str(
        root / f'Vehicules{resolution}/00000000_co.png')
    assert info['nir_path'] == str(
        root / f'Vehicules{resolution}/00000000_ir.png')
    box = (np.array([16, 8, 34, 24]) * scale).tolist()
    # neither the motorcycle nor the car without corners
    assert [boxes(dataset, i) for i in range(3)] == [
        dict(car=[box]), dict(pickup=[box]), dict(boat=[box])
    ]
    test = VEDAIDataset(str(root), 'test', fold=3, resolution=resolution)
    assert [set(boxes(test, i)) for i in range(2)] == [{'plane'}, {'other'}]


def test_vedai_bad_files(tmp_path):
    root = mini.write_vedai(tmp_path / 'vedai')
    for kwargs in (dict(fold=0), dict(resolution=256)):
        with pytest.raises(ValueError, match=str(list(kwargs.values())[0])):
            VEDAIDataset(str(root), **kwargs)
    path = root / 'Annotations1024/00000001.txt'
    path.write_text('1 2 3 4 5 6 7\n')
    with pytest.raises(ValueError, match=r"00000001\.txt', line 1 has 7"):
        VEDAIDataset(str(root))
    path.write_text(f'25 16 0.6 77 1 0 {"9 " * 8}\n')
    with pytest.raises(ValueError, match=r"00000001\.txt' has the class "
                       "'77'"):
        VEDAIDataset(str(root))


def test_bad_voc_files(tmp_path):
    root = mini.write_llvip(tmp_path / 'llvip')
    path = root / 'Annotations/010002.xml'
    mini.voc(path, [('cyclist', 1, 2, 9, 9)])
    with pytest.raises(ValueError, match=r"010002\.xml' has the class "
                       "'cyclist', which LLVIPDataset"):
        LLVIPDataset(str(root))
    mini.voc(path, [('person', 1, 2, 9, 9), ('person', 1, 'x', 9, 9)])
    with pytest.raises(ValueError, match=r"010002\.xml': object 2.*ymin: "
                       "'x'"):
        LLVIPDataset(str(root))
    path.write_text('<annotation><object>')
    with pytest.raises(ValueError, match=r"010002\.xml' is not XML"):
        LLVIPDataset(str(root))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r'010002\.xml'):
        LLVIPDataset(str(root))


def test_bad_trees(tmp_path):
    root = mini.write_llvip(tmp_path / 'llvip')
    with pytest.raises(ValueError, match="'val' is not a split"):
        LLVIPDataset(str(root), 'val')
    with pytest.raises(FileNotFoundError, match='nowhere'):
        LLVIPDataset(str(tmp_path / 'nowhere'))
    (root / 'visible/test').rename(root / 'visible/val')
    with pytest.raises(FileNotFoundError, match=r"visible/test' is missing"):
        LLVIPDataset(str(root), 'test')
    (root / 'visible/train/010003.jpg').write_text('no image')
    with pytest.raises(ValueError, match=r'010003\.jpg.* is no image'):
        LLVIPDataset(str(root))


def test_published_boxes_out_of_the_image_are_left_out(tmp_path):
    root = mini.write_llvip(tmp_path / 'llvip')
    mini.voc(root / 'Annotations/010001.xml', [
        ('person', 60, 40, 90, 60), ('person', 70, 5, 90, 20),
        ('person', 9, 9, 5, 12)
    ])
    assert boxes(LLVIPDataset(str(root))) == dict(person=[[60, 40, 64, 48]])


@pytest.mark.parametrize('name, title', [
    ('llvip', 'llvip'), ('flir_aligned', 'flir-aligned'), ('m3fd', 'm3fd'),
    ('kaist', 'kaist'), ('drone_vehicle', 'drone-vehicle'),
    ('vedai', 'vedai')
])
def test_job(tmp_path, name, title):
    root = getattr(mini, f'write_{name}')(tmp_path / 'data')
    mwam = '_mwam' * (name in ('llvip', 'vedai'))
    metrics = mini.train(f'{name}/two-stream-retinanet-r50_md{mwam}_{title}'
                         '.py', root, tmp_path / 'work')
    scores = {
        key.split('/')[0]: value
        for key, value in metrics.items() if key.endswith('bbox_mAP_50')
        and 'PCR' not in key
    }
    other = {key for key in scores if '+' in key}.pop().split('+')[1]
    assert {f'rgb+{other}', 'rgb', other, 'avg'} <= set(scores)
    assert all(0 <= value <= 1 for value in scores.values())


def test_nine_pairs_of_odd_sizes(tmp_path):
    """As published, but small: only data_root is another."""
    root = mini.write_llvip(tmp_path / 'llvip', 6, 3, size=(51, 77))
    metrics = mini.train(
        'llvip/two-stream-retinanet-r50_md_llvip.py', root,
        tmp_path / 'work', scale=(90, 70), max_epochs=2)
    assert {'rgb+infrared/coco/bbox_mAP',
            'avg/coco/bbox_mAP_50'} <= set(metrics)


def test_read_is_a_coco_json(tmp_path):
    root = mini.write_kaist(tmp_path / 'kaist')
    content, _ = KAISTDataset(str(root), lazy_init=True).read()
    import json
    (root / 'ann.json').write_text(json.dumps(content))
    copy = MultiModalCocoDataset(data_root=str(root), ann_file='ann.json')
    original = KAISTDataset(str(root))
    assert [copy.get_data_info(i) for i in range(3)
            ] == [original.get_data_info(i) for i in range(3)]
