"""Metrics in Prometheus' text format, from counts that the broker and the HTTP layer keep as things happen."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from crossdock.core.figures import Stats

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

Incidents = Mapping[str, Mapping[str, int]]
"""How often what went wrong, by protocol. May grow while the server runs."""

_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one server.

    Args:
        stats: reads the broker's counts.
        incidents: for each other protocol how often something went wrong there, by what it was.
    """

    def __init__(self, stats: Callable[[], Stats], incidents: Incidents | None = None) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Jobs(stats, {} if incidents is None else incidents))
        self._requests = Counter(
            "crossdock_http_requests", "Requests answered", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "crossdock_http_seconds", "Time to answer", ("route",), registry=self._registry, buckets=_BUCKETS
        )
        # Looking a label up costs more than counting does.
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer; fits :data:`crossdock.http.shield.Observe`."""
        # Anybody can invent methods, and every label value costs memory for good.
        place = (method if method in _METHODS else "other", route, status)
        known = self._known.get(place)
        if known is None:
            count = self._requests.labels(place[0], route, str(status))
            known = self._known[place] = (count, self._seconds.labels(route))
        known[0].inc()
        known[1].observe(seconds)

    def render(self) -> bytes:
        """Return the text that a scrape gets."""
        return generate_latest(self._registry)


class _Jobs(Collector):
    """Jobs and workers, read from the broker when a scrape comes."""

    def __init__(self, stats: Callable[[], Stats], incidents: Incidents) -> None:
        self._stats = stats
        self._incidents = incidents

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not need a broker that is open."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        stats = self._stats()
        queued = GaugeMetricFamily("crossdock_jobs_queued", "Jobs that wait for a worker", labels=("kind",))
        for kind, count in stats.queued.items():
            queued.add_metric((kind,), count)
        running = GaugeMetricFamily("crossdock_jobs_running", "Leases that are held", labels=("kind",))
        for kind, count in stats.running.items():
            running.add_metric((kind,), count)
        finished = CounterMetricFamily("crossdock_jobs_finished", "Jobs that ended", labels=("kind", "state"))
        for (kind, state), count in stats.finished.items():
            finished.add_metric((kind, state), count)
        incidents = CounterMetricFamily("crossdock_incidents", "Things that went wrong", labels=("protocol", "what"))
        for protocol, counts in self._incidents.items():
            for what, count in counts.items():
                incidents.add_metric((protocol, what), count)
        busy = sum(stats.queued.values()) + sum(stats.running.values())
        return [
            queued,
            running,
            finished,
            incidents,
            _gauge("crossdock_slots", "Slots of all attached workers", stats.slots),
            _gauge(
                "crossdock_load", "Queued and running jobs per slot: what to scale workers by", busy / max(1, stats.slots)
            ),
            _gauge("crossdock_oldest_queued_seconds", "Age of the oldest queued job", stats.oldest or 0.0),
            _gauge("crossdock_store_full", "1 while the disk is full", float(stats.full)),
        ]


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
