"""Prometheus metrics of the two processes, each on a registry of its own."""

from telemetry.metrics.engine import EngineMetrics
from telemetry.metrics.gateway import GatewayMetrics

__all__ = ["EngineMetrics", "GatewayMetrics"]
