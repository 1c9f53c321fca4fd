"""``crossdock serve``: everything embedded in one process, wired by hand."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from crossdock.app.doors import deliver_callbacks, http_application, server_options
from crossdock.app.exposure import check_listening
from crossdock.app.garbage import settle_garbage
from crossdock.app.hands import hands, kinds_of
from crossdock.app.logs import configure_logs
from crossdock.app.places import make_broker
from crossdock.app.stopping import Hands, Say, Stopping, run_until_stopped
from crossdock.config import Config
from crossdock.core.broker import Broker
from crossdock.core.extras import extra
from crossdock.http.server import Server, new_event_loop
from crossdock.runners.function.loading import load_app

if TYPE_CHECKING:
    from crossdock.app.jsonbus import Node
    from crossdock.protocols.recodex.files import FileServer
    from crossdock.runners.program.settings import FileManager

Background = Callable[[], Coroutine[Any, Any, None]]
"""What goes on beside the workers until they are drained."""

BROKEN = 70
"""Exit code after a failed write: what is on disk has to be read again by a new process (EX_SOFTWARE of sysexits)."""


def run_server(config: Config, app: str | None, say: Say) -> int:
    """Serve until a signal ends it; return the exit code.

    Args:
        config: the configuration.
        app: ``file.py:app`` or ``module:app``; None serves backends only.
        say: called with lines for people.

    Raises:
        CrossdockError: if it cannot start: what is in the way, in one line.
    """
    configure_logs(config.log.level, config.log.format)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(serve(config, app, say))


async def serve(config: Config, app: str | None, say: Say) -> int:
    """Serve until the process is told to stop, or cannot go on; return the exit code."""
    loaded = load_app(app) if app is not None else None
    kinds = kinds_of(config, loaded)
    note = check_listening(config, kinds.values())
    broker = make_broker(config, kinds)
    stopping = Stopping()
    async with AsyncExitStack() as stack:
        stack.enter_context(stopping.on_signals())
        await broker.open()
        stack.push_async_callback(broker.close)
        files, node = _files(config, broker), _node(config, broker)
        incidents: dict[str, Mapping[str, int]] = {}
        beside = [route for part in (files, node) if part is not None for route in part.routes()]
        application = http_application(config, broker, beside, incidents)
        server = Server(application, server_options(config))
        await server.start()
        stack.push_async_callback(server.stop)
        settle_garbage()
        say(f"crossdock listening on {server.url} (data in {config.data})")
        background: list[Background] = [lambda: _watch(broker), lambda: deliver_callbacks(config, broker)]
        own = _own(config, files, server.url)
        if config.recodex is not None:
            with extra("recodex", "[recodex] needs"):
                from crossdock.app.recodex import Installation
            installation = Installation(config, config.recodex, broker, files, own)
            await installation.start(stack, say)
            incidents["recodex"] = installation.counters.values
            background.append(installation.notify)
        if node is not None:
            await node.start(stack, server.url, say)
            incidents["jsonbus"] = node.incidents
            background.append(node.answer)
        for line in (f"kinds: {', '.join(kinds)}" if kinds else _HINT, note):
            if line:
                say(line)
        return await _work(background, await hands(config, broker, app, loaded, own, node), stopping, say)


def _files(config: Config, broker: Broker) -> "FileServer | None":
    if config.files is None:
        return None
    from crossdock.app.files import file_server

    return file_server(config.files, broker, config.http.base_url)


def _node(config: Config, broker: Broker) -> "Node | None":
    if config.jsonbus is None:
        return None
    with extra("jsonbus", "[jsonbus] needs"):
        from crossdock.app.jsonbus import Node
    return Node(config, config.jsonbus, broker)


def _own(config: Config, files: "FileServer | None", url: str) -> "tuple[FileManager, ...]":
    """Return how others of this process reach our file server, which learns the address of the HTTP server by that."""
    if config.files is None or files is None:
        return ()
    from crossdock.app.files import own_manager

    files.base_url = files.base_url or url
    return (own_manager(config.files, files),)


_HINT = "no APP and no backends, so there is no kind of job to submit; try: crossdock serve file.py:app"


class _Broken(Exception):
    """The broker cannot go on."""


async def _work(background: Sequence[Background], workers: Sequence[Hands], stopping: Stopping, say: Say) -> int:
    """Run everything until the workers are drained; return the exit code."""
    code = 0
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work()) for work in background]
            await run_until_stopped(workers, stopping, say)
            for task in tasks:
                task.cancel()
    except* _Broken as broken:
        say(f"crossdock: stopping: {broken.exceptions[0]}; nothing that was answered is lost: start again to go on")
        code = BROKEN
    return code


async def _watch(broker: Broker) -> None:
    raise _Broken(str(await broker.failed()))
