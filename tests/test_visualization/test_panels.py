"""Pictures of modalities and predictions."""
import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData

from mwam_mm.visualization import (
    distinct_palette,
    draw_boxes,
    draw_columns,
    draw_labels,
    draw_sample,
    modality_picture,
    panel,
)
from mwam_mm.visualization.panels import ABSENT, IGNORED, INVALID


class TestModalityPicture:

    def test_bytes_of_three_channels_stay(self):
        image = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
        picture = modality_picture(image)
        np.testing.assert_array_equal(picture, image)
        assert picture is not image

    def test_range_is_that_of_the_percentiles(self):
        """Values beyond them have the colours of the ends."""
        values = np.arange(101.).reshape(1, -1)
        picture = modality_picture(values)
        assert (picture[0, :3] == picture[0, 0]).all()
        assert (picture[0, 98:] == picture[0, 100]).all()
        assert (picture[0, 10] != picture[0, 50]).any()
        # viridis: from dark violet to yellow, ever more green
        assert (np.diff(picture[0, :, 1].astype(int)) >= 0).all()
        assert picture[0, 0].tolist() == [68, 1, 84]
        assert picture[0, 100].tolist() == [253, 231, 37]

    def test_invalid_pixels_have_one_colour_and_no_weight(self):
        rng = np.random.default_rng(0)
        depth = rng.uniform(2, 4, (20, 20))
        invalid = rng.random((20, 20)) < 0.3
        spoilt = np.where(invalid, 1e6, depth)
        picture = modality_picture(spoilt, invalid)
        assert (picture[invalid] == INVALID).all()
        assert not (picture[~invalid] == INVALID).all(1).any()
        np.testing.assert_array_equal(
            picture, modality_picture(np.where(invalid, -5, depth), invalid))

    @pytest.mark.parametrize('image', [
        np.full((4, 4), 7.), np.full((4, 4), 7, np.uint8),
        np.full((4, 4, 6), 7, np.uint16)])
    def test_constant(self, image):
        picture = modality_picture(image)
        assert (picture == picture[0, 0]).all()

    def test_nothing_valid(self):
        picture = modality_picture(np.full((4, 4), np.nan),
                                   np.ones((4, 4), bool))
        assert (picture == INVALID).all()

    def test_one_channel_of_bytes_is_stretched(self):
        image = np.array([[100, 101], [102, 103]], np.uint8)
        picture = modality_picture(image)
        assert picture[0, 0].tolist() == [68, 1, 84]
        assert picture[1, 1].tolist() == [253, 231, 37]

    def test_many_channels_are_averaged(self):
        image = np.random.default_rng(0).uniform(0, 9, (5, 5, 4))
        np.testing.assert_array_equal(
            modality_picture(image), modality_picture(image.mean(2)))


class TestDrawing:

    def test_labels(self):
        picture = np.full((1, 4, 3), 100, np.uint8)
        labels = np.array([[0, 1, 255, -1]])
        drawn = draw_labels(picture, labels, [[0, 0, 0], [200, 100, 50]], 0.5)
        assert drawn[0].tolist() == [
            [50] * 3, [150, 100, 75], [100] * 3, [100] * 3]
        assert (picture == 100).all()
        with pytest.raises(ValueError, match='label map has'):
            draw_labels(picture, labels.T, [[0, 0, 0]])

    def test_boxes(self):
        picture = np.zeros((20, 20, 3), np.uint8)
        drawn = draw_boxes(picture, np.array([[3.2, 5, 10, 15]]), [1],
                           [[9, 9, 9], [0, 200, 0]])
        expected = np.zeros((20, 20), bool)
        expected[5:16, [3, 10]] = expected[[5, 15], 3:11] = True
        np.testing.assert_array_equal((drawn == [0, 200, 0]).all(2), expected)
        assert not picture.any()

    def test_boxes_to_be_ignored(self):
        kept, ignored = (
            InstanceData(bboxes=torch.tensor([box]), labels=torch.tensor([1]))
            for box in ([3., 5, 10, 15], [30., 30, 50, 55]))
        drawn = draw_sample(
            np.zeros((60, 60, 3), np.uint8),
            BaseDataElement(gt_instances=kept, ignored_instances=ignored),
            'ab', [[200, 0, 0], [0, 0, 200]], truth=True)
        assert drawn[15, 5].tolist() == [0, 0, 200]
        assert (drawn[55, 30:51] == IGNORED).all()

    def test_masks(self):
        """Of what is drawn only, each in its class's colour."""
        masks = torch.zeros(2, 60, 60, dtype=torch.bool)
        masks[0, 2:4, 2:4] = masks[1, 50:53, 50:53] = True
        boxes = InstanceData(
            bboxes=torch.tensor([[0., 0, 8, 8], [30, 30, 55, 55]]),
            labels=torch.tensor([1, 0]), scores=torch.tensor([0.2, 0.9]),
            masks=masks)
        drawn = draw_sample(
            np.full((60, 60, 3), 100, np.uint8),
            BaseDataElement(pred_instances=boxes), 'ab',
            [[200, 0, 0], [0, 0, 200]])
        assert drawn[52, 52].tolist() == [140, 60, 60]
        assert drawn[3, 3].tolist() == [100] * 3

    def test_sample_with_boxes_of_low_scores(self):
        boxes = InstanceData(
            bboxes=torch.tensor([[1., 1, 5, 5], [10, 10, 18, 18]]),
            labels=torch.tensor([0, 1]), scores=torch.tensor([0.9, 0.2]))
        sample = BaseDataElement(pred_instances=boxes)
        picture = np.zeros((30, 30, 3), np.uint8)
        palette = [[255, 0, 0], [0, 0, 255]]
        drawn = draw_sample(picture, sample, 'ab', palette)
        assert drawn[..., 0].any() and not drawn[..., 2].any()
        drawn = draw_sample(picture, sample, 'ab', palette, score_thr=0.1)
        assert drawn[..., 0].any() and drawn[..., 2].any()

    def test_truth_has_no_scores(self):
        boxes = InstanceData(
            bboxes=torch.tensor([[1., 1, 5, 5]]), labels=torch.tensor([0]))
        drawn = draw_sample(
            np.zeros((9, 9, 3), np.uint8),
            BaseDataElement(gt_instances=boxes), 'a', [[255, 0, 0]],
            truth=True)
        assert drawn[5, 5, 0] == 255

    def test_sample_without_prediction(self):
        with pytest.raises(ValueError, match='neither pred_sem_seg'):
            draw_sample(np.zeros((9, 9, 3), np.uint8), BaseDataElement(), [],
                        [])

    def test_distinct_palette(self):
        palette = distinct_palette(40)
        assert len(set(palette)) == 40
        assert palette[:7] == distinct_palette(7)
        assert all(0 <= c <= 255 for color in palette for c in color)


class TestColumns:

    def test_all_of_a_sample(self):
        first = np.full((10, 240, 3), 100, np.uint8)
        labels = torch.zeros(1, 10, 240, dtype=torch.long)
        sample = BaseDataElement(
            gt_sem_seg=BaseDataElement(data=labels),
            pred_sem_seg=BaseDataElement(data=labels + 1))
        picture = draw_columns(
            dict(rgb=None, depth=first), {'depth': sample}, ['a', 'b'],
            [[200, 0, 0], [0, 0, 200]], truth=sample)
        assert picture[25, 10::244].tolist() == [
            list(ABSENT), [100] * 3, [160, 40, 40], [40, 40, 160]]
        with pytest.raises(ValueError, match='all modalities are absent'):
            draw_columns(dict(rgb=None), {})

    def test_classes_without_names_have_numbers(self):
        first = np.zeros((10, 240, 3), np.uint8)
        labels = torch.tensor([0, 3, 255]).expand(1, 10, 3).repeat(1, 1, 80)
        sample = BaseDataElement(pred_sem_seg=BaseDataElement(data=labels))
        np.testing.assert_array_equal(
            draw_columns(dict(rgb=first), {'': sample}),
            draw_columns(dict(rgb=first), {'': sample}, '0123'))

    def test_boxes_of_classes_without_names(self):
        first = np.zeros((60, 240, 3), np.uint8)
        # As predicted from files, where nothing is annotated.
        sample = BaseDataElement(
            gt_instances=InstanceData(),
            pred_instances=InstanceData(
                bboxes=torch.tensor([[9., 20., 90., 50.]]),
                scores=torch.tensor([0.9]),
                labels=torch.tensor([2])))
        np.testing.assert_array_equal(
            draw_columns(dict(rgb=first), {'': sample}),
            draw_columns(dict(rgb=first), {'': sample}, '012'))


class TestPanel:

    def test_columns(self):
        first = np.random.default_rng(0).integers(
            0, 256, (40, 240, 3), np.uint8)
        picture = panel([('rgb', first), ('depth', None)])
        assert picture.shape == (22 + 40 + 4, 2 * 244, 3)
        np.testing.assert_array_equal(picture[22:62, 4:244], first)
        assert (picture[22:62, 248:] == ABSENT).all()
        for strip in (picture[:22, :244], picture[:22, 244:]):
            assert (strip == 255).any() and (strip < 99).any()  # text

    def test_narrow_pictures_are_enlarged(self):
        first = np.random.default_rng(0).integers(
            0, 256, (40, 100, 3), np.uint8)
        picture = panel([('rgb', first)])
        np.testing.assert_array_equal(picture[22:-4:3, 4::3], first)

    def test_legend_goes_on_in_further_rows(self):
        first = np.zeros((40, 240, 3), np.uint8)
        legend = {f'class {i}': color
                  for i, color in enumerate(distinct_palette(9))}
        plain = panel([('rgb', first)])
        picture = panel([('rgb', first)], legend)
        assert picture.shape[1] == plain.shape[1]
        rows = picture[len(plain):]
        assert len(rows) > 22 and len(rows) % 22 == 0
        for color in legend.values():
            assert (rows == color).all(2).sum() == 12 * 12

    def test_errors(self):
        with pytest.raises(ValueError, match='one shape'):
            panel([('rgb', None)])
        with pytest.raises(ValueError, match='one shape'):
            panel([('a', np.zeros((4, 4, 3), np.uint8)),
                   ('b', np.zeros((5, 4, 3), np.uint8))])


def test_titles_name_the_labels_of_whole_images():
    sample = BaseDataElement(
        pred_label=torch.tensor([1]),
        pred_score=torch.tensor([0.25, 0.75]),
        gt_label=torch.tensor([0]))
    ground = np.full((30, 40, 3), 9, np.uint8)
    drawn = draw_columns({'rgb': ground}, {'': sample}, ('fake', 'real'),
                         truth=sample)
    titled = panel([('rgb', ground), ('truth: fake', ground),
                    ('prediction: real 0.75', ground)])
    np.testing.assert_array_equal(drawn, titled)
    # Without a name, the number of the class.
    np.testing.assert_array_equal(
        draw_columns({'rgb': ground}, {'': sample}),
        panel([('rgb', ground), ('prediction: 1 0.75', ground)]))
