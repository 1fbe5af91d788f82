"""/metrics, for Prometheus: jupyter_server's names where it has the number, and what else an operator wants to know.

Only requests are counted as they come (1 µs each); all other numbers are read when somebody asks for them. The
registry is the application's own, so that several servers in one process don't add up.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version as version_of

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web_urldispatcher import AbstractRoute
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, GCCollector, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from evstore.core.events import Recorded
from evstore.http.openapi import address
from evstore.http.services import Services, services
from evstore.http.status import last_activity

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
NO_ROUTE = "none"
Observe = Callable[[float], None]


class Metrics:
    """The numbers of one application."""

    def __init__(self, service: Services, pattern_of: Callable[[AbstractRoute], str | None]) -> None:
        """`pattern_of` is the pattern of a route: the label `handler`, for of paths there is no end."""
        self._pattern_of = pattern_of
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._requests = Histogram(
            "http_request_duration_seconds",
            "Seconds until a request was answered; websockets and the feed, which last, are not among them",
            ["method", "handler", "status_code"],
            registry=self._registry,
        )
        self._observers: dict[tuple[str, AbstractRoute, int], Observe] = {}
        self._events: Counter[str] = Counter()
        service.store.subscribe(self._heard)

    def middleware(self) -> Middleware:
        """To stand around the guard: it sees the answers that clients get."""

        @web.middleware
        async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
            start = time.perf_counter()
            try:
                response = await handler(request)
            except web.HTTPException as answer:  # a redirect of aiohttp's own
                self._observe(request, answer.status, time.perf_counter() - start)
                raise
            if response.status != 101 and response.content_type != "text/event-stream":
                self._observe(request, response.status, time.perf_counter() - start)
            return response

        return measure

    def _observe(self, request: web.Request, status: int, seconds: float) -> None:
        method = request.method if request.method in METHODS else "other"  # clients can make some up
        route = request.match_info.route
        observe = self._observers.get((method, route, status))
        if observe is None:
            pattern = self._pattern_of(route)
            handler = NO_ROUTE if pattern is None else address(pattern)
            observe = self._requests.labels(method, handler, str(status)).observe
            if pattern is not None:  # what has no route has another object each time
                self._observers[method, route, status] = observe
        observe(seconds)

    def _heard(self, recorded: Sequence[Recorded]) -> None:
        for one in recorded:
            self._events[type(one.event).__name__] += 1

    async def text(self, service: Services) -> bytes:
        """All of it, in Prometheus' text format. What belongs to the event loop is read on it."""
        now = _Now([*_like_jupyter(service), *_ours(service, self._events)])
        return await asyncio.to_thread(lambda: generate_latest(self._registry) + generate_latest(now))


class _Now(Collector):
    """Numbers as they were at one moment."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


METRICS: web.AppKey[Metrics] = web.AppKey("metrics", Metrics)


async def get(request: web.Request) -> web.Response:
    """GET /metrics"""
    text = await request.app[METRICS].text(services(request))
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _like_jupyter(service: Services) -> Iterator[Metric]:
    """By jupyter_server's names and labels (jupyter_server/prometheus/metrics.py)."""
    started, last = service.activity.started, last_activity(service)
    yield InfoMetricFamily("jupyter_server", "Version", {"version": version_of("evstore")})
    yield _gauge("jupyter_server_started_timestamp_seconds", "When this server was started", started)
    yield _gauge("jupyter_server_last_activity_timestamp_seconds", "When it was used last", last)
    yield _gauge("jupyter_server_active_duration_seconds", "From its start to its last use", last - started)
    kernels = GaugeMetricFamily(
        "kernel_currently_running_total", "How many kernels are running, by type", labels=["type"]
    )
    for name, count in Counter(kernel.name for kernel in service.kernels.all()).items():
        kernels.add_metric([name], count)
    yield kernels
    yield _gauge(
        "terminal_currently_running_total", "How many terminals are running", service.terminals.running
    )


def _ours(service: Services, events: Counter[str]) -> Iterator[Metric]:
    load = service.store.load()
    appended = CounterMetricFamily(
        "evstore_events", "Events appended since the start, by name", labels=["event"]
    )
    for name, count in events.items():
        appended.add_metric([name], count)
    yield appended
    yield _gauge("evstore_log_offset", "The offset of the log's last event", service.store.offset)
    yield _gauge("evstore_log_bytes", "Bytes of the database's files", load.size)
    yield _counter("evstore_commits", "Transactions of the writer", load.commits)
    yield _counter("evstore_commands", "Commands in them: their number by commit is the batch", load.commands)
    yield _gauge("evstore_waiting_commands", "Commands that wait for the writer", load.waiting)
    yield _gauge("evstore_waiting_bytes", "Bytes that these hold in memory", load.waiting_bytes)
    yield _gauge("evstore_is_writable", "0 once the disk has failed: restart evstore", load.is_writable)
    yield _gauge("evstore_reply_cache_bytes", "Bytes of replies that are kept ready", service.replies.size)
    clients = GaugeMetricFamily("evstore_websocket_clients", "Open websockets, by what for", labels=["kind"])
    kernels = service.kernels.all()
    clients.add_metric(["kernel"], sum(kernel.connections for kernel in kernels))
    clients.add_metric(["terminal"], service.terminals.connections)
    clients.add_metric(["events"], service.announcer.listeners)
    yield clients
    kept = GaugeMetricFamily(
        "evstore_kernel_output_bytes",
        "Output of kernels that waits for its clients or documents",
        labels=["place"],
    )
    amounts = [kernel.kept for kernel in kernels]
    kept.add_metric(["memory"], sum(in_memory for in_memory, _ in amounts))
    kept.add_metric(["disk"], sum(on_disk for _, on_disk in amounts))
    yield kept


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_, value=value)


def _counter(name: str, help_: str, value: float) -> Metric:
    return CounterMetricFamily(name, help_, value=value)
