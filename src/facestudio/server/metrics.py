"""What Prometheus reads: counts and times, nothing of anybody's."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)
SIZES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self.requests = Counter(
            "facestudio_requests", "HTTP requests", ("route", "method", "status"), registry=registry
        )
        self.request_seconds = Histogram(
            "facestudio_request_seconds", "Until the answer began", ("route",), registry=registry,
            buckets=SECONDS,
        )  # fmt: skip
        self.jobs = Counter("facestudio_jobs", "Ended jobs", ("status", "code"), registry=registry)
        self.pictures = Counter("facestudio_pictures", "Pictures drawn", registry=registry)
        self.job_seconds = Histogram(
            "facestudio_job_seconds", "From arrival to pictures", registry=registry, buckets=SECONDS
        )
        self.batch = Histogram(
            "facestudio_batch_jobs", "Jobs drawn together", registry=registry, buckets=SIZES
        )
        self.waiting = Gauge("facestudio_jobs_waiting", "Jobs in the queue", registry=registry)
        self.running = Gauge("facestudio_jobs_running", "Jobs being drawn", registry=registry)

    def text(self) -> bytes:
        """All figures in Prometheus' text form."""
        return generate_latest(self.registry)
