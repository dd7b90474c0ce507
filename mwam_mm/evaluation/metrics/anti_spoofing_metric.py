"""Error rates of face anti-spoofing."""
from typing import Any, Dict, List, Optional, Sequence

from mmengine.evaluator import BaseMetric

from mwam_mm.registry import METRICS

from ..anti_spoofing import attack_error_rates, tpr_at_fpr

__all__ = ['AntiSpoofingMetric']


@METRICS.register_module()
class AntiSpoofingMetric(BaseMetric):
    """APCER, BPCER, ACER and the TPR at fixed FPR, all in percent.

    Of a classifier that gives ``pred_score``, such as MMPretrain's. See
    :func:`attack_error_rates` and :func:`tpr_at_fpr`. What is undefined,
    because there are only real samples or only attacks, is NaN, which the
    table of the missing-modality loops leaves empty.

    Args:
        real (int): The class of real samples; all others are attacks.
            Defaults to 1.
        threshold (float): Scores of ``real`` above it are accepted. Defaults
            to 0.5.
        fpr (Sequence[float]): The rates of accepted attacks at which to give
            the rate of accepted real samples. Defaults to (0.01, 0.001,
            0.0001).
        collect_device (str): Where ranks collect results, 'cpu' or 'gpu'.
            Defaults to 'cpu'.
        prefix (str, optional): Prefix of the names. Defaults to None,
            'spoofing'.

    Examples:
        >>> val_evaluator = [
        ...     dict(type='Accuracy', topk=1),
        ...     dict(type='mwam_mm.AntiSpoofingMetric')
        ... ]
    """
    default_prefix: Optional[str] = 'spoofing'

    def __init__(self,
                 real: int = 1,
                 threshold: float = 0.5,
                 fpr: Sequence[float] = (0.01, 0.001, 0.0001),
                 collect_device: str = 'cpu',
                 prefix: Optional[str] = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.real = real
        self.threshold = threshold
        self.fpr = tuple(fpr)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Note the score and the label of each sample.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): With ``pred_score`` (num_classes, )
                and ``gt_label`` (1, ).
        """
        for sample in data_samples:
            self.results.append(
                (float(sample['pred_score'][self.real]),
                 int(sample['gt_label']) == self.real))

    def compute_metrics(self, results: List[tuple]) -> Dict[str, float]:
        """Compute the rates.

        Args:
            results (list[tuple]): Score and whether real, of each sample.

        Returns:
            dict[str, float]: In percent: ``ACER``, ``APCER``, ``BPCER`` and
            ``TPR@FPR=<fpr>``.
        """
        scores, labels = zip(*results)
        rates = attack_error_rates(scores, labels, self.threshold)
        metrics = {key: rates[key] for key in ('ACER', 'APCER', 'BPCER')}
        for fpr in self.fpr:
            metrics[f'TPR@FPR={fpr:g}'] = tpr_at_fpr(scores, labels, fpr)
        return {key: 100 * value for key, value in metrics.items()}
