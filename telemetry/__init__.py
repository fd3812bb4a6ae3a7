"""Span records, metrics, logs and their export. The only package that imports the OpenTelemetry SDK."""
