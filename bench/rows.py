"""What is measured, beside whom, and what it should come to."""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from bench import dramatiq_peer, jsonbus, servers
from bench.child import Figures, measure

Cases = dict[str, Figures | None]
"""Figures by case; None: the peer is not available."""


class Aim(NamedTuple):
    """What a figure of a case should be: at least or at most ``value``, or ``value`` times the figure of ``peer``."""

    case: str
    figure: str
    value: float
    peer: str | None = None
    at_most: bool = False


class Row(NamedTuple):
    """One row of the benchmark. ``run`` measures every case once; ``quick`` makes it smaller."""

    name: str
    title: str
    run: Callable[[bool], Cases]
    aims: tuple[Aim, ...] = ()


_TIERS: Final = {"tier 1, cgroup": 1, "tier 2, namespaces": 2, "tier 3, Landlock": 3}
_IN_FLIGHT: Final = {1: 3000, 10: 20_000, 100: 40_000, 2000: 100_000}
_PEER_IN_FLIGHT: Final = {1: 500, 2000: 3000}


def _durable(quick: bool) -> Cases:
    cases: Cases = {}
    for in_flight, jobs in _IN_FLIGHT.items():
        figures = measure("embedded:throughput", jobs=jobs // 10 if quick else jobs, in_flight=in_flight)
        cases[f"{in_flight} in flight"] = figures
    peer = dramatiq_peer.available()
    for in_flight, jobs in _PEER_IN_FLIGHT.items():
        count = jobs // 5 if quick else jobs
        figures = measure("dramatiq_peer:throughput", jobs=count, in_flight=in_flight) if peer else None
        cases[f"dramatiq, {in_flight} in flight"] = figures
    return cases


def _arrays(quick: bool) -> Cases:
    count = 200_000 if quick else 1_000_000
    return {f"{result} results": measure("arrays:members", count=count, result=result) for result in ("null", "small")}


def _depth(quick: bool) -> Cases:
    """Measure the same jobs over stores of several depths, one after the other, in one run."""
    cases: Cases = {}
    for depth in (1000, 20_000) if quick else (1000, 100_000, 1_000_000):
        place = Path(tempfile.gettempdir()) / f"crossdock-bench-{os.getpid()}-{depth}"
        try:
            filled = measure("depth:fill", place=str(place), jobs=depth)
            for way in ("beside", "through"):
                count = 10_000 if quick else 100_000
                figures = measure("depth:run", place=str(place), jobs=count, in_flight=2000, beside=way == "beside")
                cases[f"{way} {depth} queued"] = {**figures, "fill_per_s": filled["jobs_per_s"]}
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return cases


def _longpost(kind: str, app: str, slots: int) -> Callable[[bool], Cases]:
    def run(quick: bool) -> Cases:
        cases: Cases = {}
        with servers.crossdock(app, slots) as ours, servers.quick_server() as theirs:
            for concurrency, count, peer_count in ((1, 2000, 50), (16, 6000, 600), (64, 10_000, 2000)):
                for name, server, asked, full in (
                    ("crossdock", ours, kind, count),
                    ("quick-server", theirs, "empty", peer_count),
                ):
                    cases[f"{name}, {concurrency} clients"] = _trips(
                        server, asked, concurrency, full // 5 if quick else full
                    )
            if not quick and kind == "empty":
                _trips(theirs, "empty", 64, 10_000 - 2650)
                cases["quick-server, after 10,000"] = {"rss_mb": theirs.resident_mb()}
        return cases

    return run


def _trips(server: servers.Served, kind: str, concurrency: int, count: int) -> Figures:
    before = server.processor_seconds()
    figures = measure("longpost:load", port=server.port, kind=kind, concurrency=concurrency, count=count)
    used = server.processor_seconds() - before
    return {**figures, "server_cpu_us_per_trip": used / count * 1e6, "rss_mb": server.resident_mb()}


def _longpost_aims(ratios: dict[int, float]) -> tuple[Aim, ...]:
    return tuple(
        Aim(f"crossdock, {clients} clients", "round_trips_per_s", ratio, f"quick-server, {clients} clients")
        for clients, ratio in ratios.items()
    )


def _latency(quick: bool) -> Cases:
    count = 50 if quick else 400
    cases: Cases = {"embedded": measure("latency:embedded", count=count, pause=0.01)}
    with servers.crossdock("app", 4) as ours:
        measure("longpost:delays", port=ours.port, count=20, pause=0.01)
        cases["HTTP"] = measure("longpost:delays", port=ours.port, count=count, pause=0.01)
    return cases


def _recodex(quick: bool) -> Cases:
    cases: Cases = {}
    for queued in (0, 1000, 10_000) if quick else (0, 1000, 10_000, 50_000):
        jobs = 3000 if quick else 30_000
        cases[f"{queued} queued"] = measure("recodex:throughput", jobs=jobs, queued=queued, workers=8, groups=4)
    crowd = measure("recodex:throughput", jobs=3000 if quick else 30_000, queued=1000, workers=200, groups=20)
    cases["200 workers in 20 groups"] = crowd
    told = measure("recodex:throughput", jobs=500 if quick else 5000, queued=0, workers=8, groups=4, notified=True)
    cases["0 queued, notifier on"] = told
    cases["100 jobs a second"] = measure("recodex:latency", jobs=200 if quick else 2000, pause=0.01)
    return cases


def _jsonbus(quick: bool) -> Cases:
    cases: Cases = {}
    for name, jobs, opened in (
        ("node and worker", 5000, jsonbus.behind),
        ("node alone", 5000, jsonbus.local),
        ("dramatiq", 5000, jsonbus.dramatiq),
        ("celery", 3000, jsonbus.celery),
    ):
        cases[name] = _asked(opened, jobs // 5 if quick else jobs, 100 if quick else 1000)
    return cases


def _jsonbus_chain(quick: bool) -> Cases:
    jobs = 400 if quick else 2000
    return {
        "three nodes": _asked(jsonbus.chain, jobs, jobs // 4),
        "dramatiq": _asked(partial(jsonbus.dramatiq, steps=3), jobs, jobs // 4),
        "celery": _asked(partial(jsonbus.celery, steps=3), jobs, jobs // 4),
    }


def _asked(opened: Callable[[jsonbus.Node], AbstractContextManager[jsonbus.Site]], jobs: int, paced: int) -> Figures | None:
    """Measure one system on a RabbitMQ that has seen no other; None without RabbitMQ."""
    if not jsonbus.available():
        return None
    with jsonbus.rabbit() as node, opened(node) as site:
        return {**jsonbus.throughput(site, jobs, 200), **jsonbus.latency(site, paced, 50.0)}


def _monitor(quick: bool) -> Cases:
    messages = 20 if quick else 200
    return {
        "together": measure("monitor:fan_out", listeners=1000, messages=messages),
        "one by one": measure("monitor:fan_out", listeners=1000, messages=messages // 4, pause=0.05),
    }


def _processes(quick: bool) -> Cases:
    jobs = 500 if quick else 5000
    return {f"{children} warm": measure("processes:overhead", jobs=jobs, children=children) for children in (1, 2)}


def _sandbox(quick: bool) -> Cases:
    count = 30 if quick else 300
    cases: Cases = {"fork and exec": measure("sandbox:bare", count=count)}
    for name, tier in _TIERS.items():
        cases[name] = measure("sandbox:boxed", count=count, tier=tier) or None
    return cases


ROWS: Final = (
    Row(
        "durable",
        "durable submit, claim, finish; SQLite, synchronous=FULL, one process",
        _durable,
        (
            Aim("2000 in flight", "jobs_per_s", 20_000),
            Aim("10 in flight", "jobs_per_s", 8000),
            Aim("2000 in flight", "jobs_per_s", 5, "dramatiq, 2000 in flight"),
        ),
    ),
    Row(
        "arrays",
        "members of an array of a million",
        _arrays,
        (Aim("null results", "members_per_s", 200_000), Aim("small results", "members_per_s", 200_000)),
    ),
    Row(
        "depth",
        "2,000 in flight with jobs queued in 20 requirement classes",
        _depth,
        (
            *(
                Aim(f"{way} {depth} queued", "jobs_per_s", 0.9, f"{way} 1000 queued")
                for way in ("beside", "through")
                for depth in (100_000, 1_000_000)
            ),
            Aim("through 1000000 queued", "rss_mb", 500, at_most=True),
        ),
    ),
    Row(
        "longpost",
        "LONGPOST round trips, async no-op",
        _longpost("empty", "app", 64),
        _longpost_aims({1: 20, 16: 10, 64: 5}),
    ),
    Row("longpost-child", "LONGPOST round trips, no-op in a child process", _longpost("empty_child", "child_app", 2)),
    Row(
        "latency",
        "submit to running, at low load",
        _latency,
        (Aim("embedded", "p50_ms", 5, at_most=True), Aim("HTTP", "p50_ms", 5, at_most=True)),
    ),
    Row(
        "recodex",
        "eval, dispatch and done over ZeroMQ, each on disk twice; 8 plain workers, 4 groups",
        _recodex,
        (Aim("1000 queued", "jobs_per_s", 10_000), Aim("50000 queued", "jobs_per_s", 0.9, "1000 queued")),
    ),
    Row(
        "jsonbus",
        "request to confirmed answer over RabbitMQ, 8 slots, 200 in flight; latency at 50 a second",
        _jsonbus,
        tuple(Aim("node and worker", "requests_per_s", 2, peer) for peer in ("dramatiq", "celery")),
    ),
    Row(
        "jsonbus-chain",
        "the same through three nodes, of which each needs the next; the peers: three workers, one after the other",
        _jsonbus_chain,
        tuple(Aim("three nodes", "requests_per_s", 2, peer) for peer in ("dramatiq", "celery")),
    ),
    Row("monitor", "progress to 1,000 WebSocket listeners of one job", _monitor),
    Row("processes", "overhead of the process runner", _processes),
    Row(
        "sandbox",
        "a program that does nothing, in a box of each tier; errors are the worst of several measurements",
        _sandbox,
        tuple(
            Aim(tier, figure, value, at_most=True)
            for tier in ("tier 1, cgroup", "tier 2, namespaces")
            for figure, value in (("p50_ms", 12), ("cpu_error_ms", 6), ("memory_error_mb", 2))
        ),
    ),
)
