"""``crossdock worker``: runners on this machine, linked to a broker elsewhere."""

import asyncio
from contextlib import AsyncExitStack
from typing import Final
from urllib.parse import urlsplit

from crossdock.app.logs import configure_logs
from crossdock.app.skills import Skill, evaluations, functions, worker_of
from crossdock.app.stopping import Say, Stopping, run_until_stopped
from crossdock.config import Config
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.extras import extra
from crossdock.core.ports import Artifacts, Dispatch
from crossdock.core.requests import Capabilities
from crossdock.http.server import new_event_loop
from crossdock.protocols.ogc.worker import HttpArtifacts, HttpDispatch, Link
from crossdock.runners.function.loading import load_app

RECODEX: Final = "recodex+tcp"

Ends = tuple[Dispatch, Artifacts]
"""A link as a worker sees it."""


def run_worker(
    config: Config, app: str | None, url: str, key: str | None, offers: Capabilities, slots: int | None, say: Say
) -> None:
    """Work for the broker at ``url`` until a signal ends it.

    Args:
        config: slots and limits, the evaluation of programs, and the log.
        app: ``file.py:app`` or ``module:app``; None runs evaluations only.
        url: the broker: ``http://HOST:PORT`` or ``recodex+tcp://HOST:PORT``.
        key: an API key with the scope ``work``, for HTTP servers with keys.
        offers: the hardware group and what else jobs may require.
        slots: jobs at once, if not what the configuration says.
        say: called with lines for people.

    Raises:
        CrossdockError: the App cannot be loaded, the sandbox is not good enough, or the broker does not want this worker.
    """
    configure_logs(config.log.level, config.log.format)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_work(config, app, url, key, offers, slots, say))


async def _work(
    config: Config, app: str | None, url: str, key: str | None, offers: Capabilities, slots: int | None, say: Say
) -> None:
    stopping = Stopping()
    async with AsyncExitStack() as stack:
        stack.enter_context(stopping.on_signals())
        if urlsplit(url).scheme == RECODEX:
            offers, slots, (dispatch, artifacts) = await _recodex(url, offers, slots, stack, say)
        else:
            dispatch, artifacts = await _http(url, key, stack, say)
        skills = await _skills(config, app, artifacts, offers, slots)
        kinds = ", ".join(kind for skill in skills for kind in skill.kinds)
        say(f"crossdock worker for {kinds} at {url} ({', '.join(skill.description for skill in skills)})")
        worker = worker_of(skills, config, dispatch, artifacts, offers=offers, slots=slots)
        await run_until_stopped([worker], stopping, say)


async def _skills(
    config: Config, app: str | None, artifacts: Artifacts, offers: Capabilities, slots: int | None
) -> list[Skill]:
    """Return what the worker can do: functions of an App, and evaluations if there is none or the configuration says so."""
    skills: list[Skill] = []
    if app is not None:
        loaded = load_app(app)
        if not loaded.functions:
            raise CrossdockError(Code.INVALID, f"{app} registers no function, so there is nothing to run")
        skills.append(functions(config, artifacts, app, loaded))
    if app is None or config.evaluation is not None:
        skills.append(await evaluations(config, artifacts, slots=slots, group=offers.group))
    return skills


async def _recodex(
    url: str, offers: Capabilities, slots: int | None, stack: AsyncExitStack, say: Say
) -> tuple[Capabilities, int | None, Ends]:
    """Return the link to a ReCodEx broker, and what its address and the command line offer together."""
    with extra("recodex", f"{RECODEX}:// needs"):
        from crossdock.protocols.recodex.worker import RecodexArtifacts, RecodexDispatch
        from crossdock.protocols.recodex.worker_address import parse_connect
    address = parse_connect(url)
    together = Capabilities(group=offers.group or address.offers.group, values={**address.offers.values, **offers.values})
    dispatch = await stack.enter_async_context(RecodexDispatch(address, say=say))
    return together, slots or address.slots, (dispatch, RecodexArtifacts(dispatch))


async def _http(url: str, key: str | None, stack: AsyncExitStack, say: Say) -> Ends:
    link = await stack.enter_async_context(Link(url, key))
    await _knock(link, say)
    return HttpDispatch(link), HttpArtifacts(link)


async def _knock(link: Link, say: Say) -> None:
    """Find out at once if the server would refuse us; if it only is away, the worker waits for it."""
    try:
        await link.ask("GET", "/workers")
    except CrossdockError as error:
        if error.code is not Code.UNAVAILABLE:
            raise
        say(f"crossdock: {error.message}; trying again until it can be")
