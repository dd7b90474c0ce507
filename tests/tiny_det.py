"""A tiny RGB-D detection job for tests that need a real Runner."""
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch.utils.data import Dataset

from mwam_mm.registry import DATASETS

from . import tiny

CLASSES = ('near', 'far')


@DATASETS.register_module()
class TinyBoxes(Dataset):
    """Squares that are bright and near, or dark and far; the same always."""

    metainfo = dict(classes=CLASSES, palette=[(255, 0, 0), (0, 0, 255)])

    def __init__(self, size=8, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.rgb = torch.randint(
            100, 156, (size, 3, 64, 64), generator=generator).float()
        self.depth = 3 + torch.rand(size, 1, 64, 64, generator=generator)
        self.boxes, self.labels = [], []
        for i in range(size):
            # One box on each side, but none in the last image.
            corners = torch.randint(0, 12, (2, 2), generator=generator)
            corners[1, 0] += 32
            if i == size - 1:
                corners = corners[:0]
            self.boxes.append(torch.cat([corners, corners + 20], 1).float())
            self.labels.append(torch.arange(len(corners)))
            for label, (x, y) in enumerate(corners.tolist()):
                window = slice(y, y + 20), slice(x, x + 20)
                self.rgb[i][(slice(None), *window)] += (100, -100)[label]
                self.depth[i][(slice(None), *window)] += (-2, 2)[label]

    def __len__(self):
        return len(self.rgb)

    def __getitem__(self, i):
        sample = DetDataSample(
            gt_instances=InstanceData(
                bboxes=self.boxes[i], labels=self.labels[i]),
            ignored_instances=InstanceData(
                bboxes=torch.zeros(0, 4),
                labels=torch.zeros(0, dtype=torch.long)))
        sample.set_metainfo(
            dict(
                img_id=i,
                img_path=f'{i}.png',
                ori_shape=(64, 64),
                img_shape=(64, 64),
                scale_factor=(1., 1.),
                instances=[
                    dict(bbox=box, bbox_label=label, ignore_flag=0)
                    for box, label in zip(self.boxes[i].tolist(),
                                          self.labels[i].tolist())
                ]))
        return dict(
            inputs=torch.cat([self.rgb[i], self.depth[i]]),
            data_samples=sample)


def model(modalities=tiny.MODALITIES, num_classes=2):
    """Two-stream FCOS."""
    return dict(
        type='mmdet.FCOS',
        data_preprocessor=dict(
            type='mwam_mm.MultiModalDetDataPreprocessor',
            modalities=modalities,
            pad_size_divisor=32),
        bbox_head=dict(
            type='mmdet.FCOSHead',
            num_classes=num_classes,
            in_channels=8,
            feat_channels=8,
            stacked_convs=1,
            strides=[8],
            regress_ranges=((-1, 1e8), ),
            norm_on_bbox=True,
            center_sampling=True,
            norm_cfg=tiny.NORM),
        **tiny.streams(
            modalities,
            'mmdet.ResNet',
            neck=dict(
                type='mmdet.FPN',
                in_channels=[4, 8],
                out_channels=8,
                start_level=1,
                num_outs=1)),
        train_cfg=None,
        test_cfg=dict(
            nms_pre=100,
            min_bbox_size=0,
            score_thr=0.01,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=20))


def config(work_dir, max_iters=4, **overrides):
    """Config of a run of :func:`tiny.config` that ends in a validation."""
    loader = dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='mwam_mm.TinyBoxes'))
    evaluator = dict(
        type='mmdet.CocoMetric',
        metric='bbox',
        metric_items=['mAP', 'mAP_50'])
    cfg = dict(
        default_scope='mmdet',
        model=model(),
        train_dataloader=dict(
            loader, sampler=dict(type='InfiniteSampler', shuffle=True)),
        val_dataloader=loader,
        test_dataloader=loader,
        val_evaluator=evaluator,
        test_evaluator=evaluator,
        train_cfg=dict(
            type='IterBasedTrainLoop',
            max_iters=max_iters,
            val_interval=max_iters),
        val_cfg=dict(type='mwam_mm.MissingModalityValLoop'),
        test_cfg=dict(type='mwam_mm.MissingModalityTestLoop'),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=0.01, momentum=0.9),
            clip_grad=dict(max_norm=10.)),
        visualizer=dict(
            type='DetLocalVisualizer',
            vis_backends=[dict(type='LocalVisBackend')]))
    cfg.update(overrides)
    return tiny.config(work_dir, **cfg)
