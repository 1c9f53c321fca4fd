"""A worker: it claims leases from a broker, runs them, keeps them alive and reports how they ended."""

from crossdock.worker.worker import Worker

__all__ = ["Worker"]
