"""Runs leases of evaluations."""

import asyncio
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec
import structlog
from msgspec.structs import replace

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import Lease, MemberOutcome, Outcome, OutcomeKind
from crossdock.core.ports import Artifacts, Attempt
from crossdock.core.requests import Note, Step
from crossdock.runners.program.blocking import blocking
from crossdock.runners.program.cache import FileCache
from crossdock.runners.program.endings import EvaluationErrored, EvaluationFailed
from crossdock.runners.program.evaluation import Evaluation, Tools
from crossdock.runners.program.fetching import Fetching
from crossdock.runners.program.judging import install_judges, judges_directory
from crossdock.runners.program.payload import EvaluationPayload
from crossdock.runners.program.sandbox.spec import Sandbox
from crossdock.runners.program.settings import EvaluationSettings
from crossdock.runners.program.transfer import Fetcher
from crossdock.runners.program.workspace import Workspace, directory_name

_log: Final[Any] = structlog.get_logger("crossdock.evaluation")

_CANCELLED: Final = Outcome(kind=OutcomeKind.CANCELLED, message="the evaluation was cancelled")


class ProgramRunner:
    """Evaluates submitted programs.

    The payload is an :class:`~crossdock.runners.program.payload.EvaluationPayload`; the result is a JSON object with
    ``status``, ``results`` (what ``result.yml`` holds), ``archive`` (an artifact, or null), ``tier`` and ``guarantees``.

    Args:
        sandbox: runs the programs.
        settings: what they may use.
        fetch: moves files.
        artifacts: where submissions and results rest that have no URL.
    """

    def __init__(
        self, sandbox: Sandbox, settings: EvaluationSettings, fetch: Fetcher, artifacts: Artifacts | None = None
    ) -> None:
        self._sandbox = sandbox
        self._settings = settings
        self._fetcher = fetch
        self._artifacts = artifacts
        self._tools: Tools | None = None
        self._busy: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def start(self) -> None:
        """Find out what the sandbox can do, and make the directories.

        Raises:
            CrossdockError: ``unavailable`` if there is no sandbox that is good enough, or no place to work in.
        """
        await self._sandbox.start()
        settings = self._settings
        try:
            await blocking(install_judges, judges_directory(settings.working_directory))
            known = [manager.prefix for manager in settings.file_managers]
            cache = await blocking(FileCache, settings.cache_directory, settings.cache_size, known)
        except OSError as error:
            raise CrossdockError(Code.UNAVAILABLE, f"the directories of the evaluation cannot be used: {error}") from error
        fetching = Fetching(self._fetcher, cache, settings.max_file)
        self._tools = Tools(self._sandbox, settings, self._fetcher, fetching, self._artifacts)

    async def run(self, lease: Lease, attempt: Attempt) -> Outcome:
        """Run a lease, whose payload has to be loaded, to its end. Cancelling this kills what runs."""
        if lease.members is None:
            return await self._run_one(lease, attempt)
        template = msgspec.json.decode(lease.payload if isinstance(lease.payload, bytes) else b"{}", type=dict[str, Any])
        for index, parameters in zip(lease.members.indexes, lease.members.parameters, strict=True):
            payload = msgspec.json.encode({**template, **parameters})
            outcome = await self._run_one(replace(lease, payload=payload, members=None), attempt, f"-{index}")
            if outcome.kind is OutcomeKind.CANCELLED:
                return outcome
            await attempt.member(MemberOutcome(index=index, outcome=outcome))
        return Outcome(kind=OutcomeKind.SUCCEEDED)

    async def stop(self) -> None:
        """End every process that was started."""
        await self._sandbox.stop()
        await self._fetcher.close()

    async def _run_one(self, lease: Lease, attempt: Attempt, suffix: str = "") -> Outcome:
        try:
            order = msgspec.json.decode(lease.payload if isinstance(lease.payload, bytes) else b"", type=EvaluationPayload)
        except (msgspec.DecodeError, UnicodeError) as error:
            return Outcome(kind=OutcomeKind.FAILED, code="evaluation_failed", message=f"the payload: {error}")
        name = order.job_id or f"{encode_id(lease.job)}{suffix}"
        evaluating = asyncio.create_task(self._evaluate(name, order, attempt))
        asked = asyncio.create_task(attempt.wait_cancelled())
        try:
            await asyncio.wait({evaluating, asked}, timeout=lease.timeout, return_when=asyncio.FIRST_COMPLETED)
            if evaluating.done():
                return evaluating.result()
            if asked.done():
                return _CANCELLED
            message = f"the evaluation did not end within {lease.timeout:g} seconds"
            return Outcome(kind=OutcomeKind.TIMED_OUT, code="timeout", message=message)
        finally:
            asked.cancel()
            evaluating.cancel()
            await asyncio.wait([evaluating])

    async def _evaluate(self, name: str, order: EvaluationPayload, attempt: Attempt) -> Outcome:
        """Evaluate, as the only one in the job's directories, and turn what goes wrong into an outcome."""
        if self._tools is None:
            return _errored("the evaluation was not started")
        lock = self._busy.setdefault(directory_name(name), asyncio.Lock())
        async with lock:
            try:
                result = await self._in_workspace(self._tools, name, order, attempt)
            except EvaluationFailed as error:
                attempt.note(Note(step=Step("FAILED")))
                attempt.note(Note(step=Step("FINISHED")))
                return Outcome(kind=OutcomeKind.FAILED, code="evaluation_failed", message=str(error))
            except (EvaluationErrored, OSError) as error:
                attempt.note(Note(step=Step("ABORTED")))
                return _errored(str(error))
        return Outcome(kind=OutcomeKind.SUCCEEDED, result=result)

    async def _in_workspace(self, tools: Tools, name: str, order: EvaluationPayload, attempt: Attempt) -> bytes:
        settings = self._settings
        workspace = await blocking(Workspace, settings.working_directory, settings.worker_id, name)
        try:
            return await Evaluation(tools, order, workspace, attempt).run()
        finally:
            if settings.cleanup:
                await blocking(_clean, workspace)
            workspace.close()


def _clean(workspace: Workspace) -> None:
    try:
        workspace.clean()
    except OSError:  # it is tried again before a job with the same id begins
        _log.warning("the directories of an evaluation could not be removed", exc_info=True)


def _errored(message: str) -> Outcome:
    return Outcome(kind=OutcomeKind.ERRORED, code="internal_error", message=message)
