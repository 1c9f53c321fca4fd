"""``crossdock worker``: runners on this machine, linked to a broker elsewhere."""

import asyncio
from contextlib import AsyncExitStack
from typing import Final
from urllib.parse import urlsplit

from crossdock.app.attachment import Attachment
from crossdock.app.bus_worker import jsonbus
from crossdock.app.logs import configure_logs
from crossdock.app.skills import Skill, evaluations, functions, worker_of
from crossdock.app.stopping import Say, Stopping, run_until_stopped
from crossdock.config import Config
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.extras import extra
from crossdock.core.ports import Artifacts
from crossdock.core.requests import Capabilities
from crossdock.http.server import new_event_loop
from crossdock.protocols.jsonbus.address import SCHEMES
from crossdock.protocols.ogc.worker import HttpArtifacts, HttpDispatch, Link
from crossdock.runners.function.loading import load_app

RECODEX: Final = "recodex+tcp"


def run_worker(
    config: Config, app: str | None, url: str, key: str | None, offers: Capabilities, slots: int | None, say: Say
) -> None:
    """Work for the broker at ``url`` until a signal ends it.

    Args:
        config: slots and limits, the evaluation of programs, and the log.
        app: ``file.py:app`` or ``module:app``; None runs evaluations only.
        url: the broker: ``http://HOST:PORT``, ``recodex+tcp://HOST:PORT`` or ``jsonbus+amqp://HOST:PORT/VHOST?node=NAME``.
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
        link = await _linked(url, key, offers, slots, stack, say)
        skills = await _skills(config, app, link.artifacts, link.offers, link.slots)
        kinds = ", ".join(kind for skill in skills for kind in skill.kinds)
        say(f"crossdock worker for {kinds} at {link.place} ({', '.join(skill.description for skill in skills)})")
        worker = worker_of(skills, config, link.dispatch, link.artifacts, offers=link.offers, slots=link.slots)
        await run_until_stopped([link.hands(worker)], stopping, say)


async def _linked(
    url: str, key: str | None, offers: Capabilities, slots: int | None, stack: AsyncExitStack, say: Say
) -> Attachment:
    scheme = urlsplit(url).scheme
    if scheme == RECODEX:
        return await _recodex(url, offers, slots, stack, say)
    if scheme in SCHEMES:
        return await jsonbus(url, offers, slots, stack, say)
    return await _http(url, key, offers, slots, stack, say)


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


async def _recodex(url: str, offers: Capabilities, slots: int | None, stack: AsyncExitStack, say: Say) -> Attachment:
    """Return the link to a ReCodEx broker, with what its address and the command line offer together."""
    with extra("recodex", f"{RECODEX}:// needs"):
        from crossdock.protocols.recodex.worker import RecodexArtifacts, RecodexDispatch
        from crossdock.protocols.recodex.worker_address import parse_connect
    address = parse_connect(url)
    dispatch = await stack.enter_async_context(RecodexDispatch(address, say=say))
    return Attachment(
        dispatch=dispatch,
        artifacts=RecodexArtifacts(dispatch),
        offers=Capabilities(group=offers.group or address.offers.group, values={**address.offers.values, **offers.values}),
        slots=slots or address.slots,
        place=url,
    )


async def _http(
    url: str, key: str | None, offers: Capabilities, slots: int | None, stack: AsyncExitStack, say: Say
) -> Attachment:
    link = await stack.enter_async_context(Link(url, key))
    await _knock(link, say)
    return Attachment(dispatch=HttpDispatch(link), artifacts=HttpArtifacts(link), offers=offers, slots=slots, place=url)


async def _knock(link: Link, say: Say) -> None:
    """Find out at once if the server would refuse us; if it only is away, the worker waits for it."""
    try:
        await link.ask("GET", "/workers")
    except CrossdockError as error:
        if error.code is not Code.UNAVAILABLE:
            raise
        say(f"crossdock: {error.message}; trying again until it can be")
