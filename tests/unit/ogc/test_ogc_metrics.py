"""What a scrape reads."""

from crossdock.core.figures import Stats
from crossdock.protocols.ogc.metrics import Metrics


def test_incidents_of_other_protocols_are_read_when_a_scrape_comes():
    incidents: dict[str, dict[str, int]] = {}
    nothing = Stats(queued={}, running={}, slots=0, oldest=None, finished={}, full=False)
    metrics = Metrics(lambda: nothing, incidents)
    assert b"crossdock_incidents_total{" not in metrics.render()
    incidents["recodex"] = {"malformed": 2}
    assert b'crossdock_incidents_total{protocol="recodex",what="malformed"} 2.0' in metrics.render()
