"""The monitor, which tells browsers how far their jobs are, and the feed of another monitor."""

from crossdock.protocols.recodex.monitor.feed import Feed
from crossdock.protocols.recodex.monitor.server import Monitor, MonitorOptions, resolver

__all__ = ["Feed", "Monitor", "MonitorOptions", "resolver"]
