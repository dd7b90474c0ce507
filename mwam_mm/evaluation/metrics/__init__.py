"""Metrics for evaluators."""
from .anti_spoofing_metric import AntiSpoofingMetric

__all__ = ['AntiSpoofingMetric']
