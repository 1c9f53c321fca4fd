"""One evaluation from the archive to the results.

The order of the steps, what each of them may find wrong and what becomes of the job then is in
docs/protocols/job-config.md, "How an evaluation goes".
"""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import BinaryIO, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from crossdock.core.documents import INLINE_LIMIT
from crossdock.core.errors import CrossdockError
from crossdock.core.jobs import ArtifactRef, Progress
from crossdock.core.ports import Artifacts, Attempt
from crossdock.core.requests import Note, Step
from crossdock.runners.program import tree
from crossdock.runners.program.archives import Refused, unpack
from crossdock.runners.program.blocking import blocking
from crossdock.runners.program.boxed import BoxedTask, conclude, make_ready, prepare
from crossdock.runners.program.endings import FAILED, OK, SKIPPED, EvaluationErrored, EvaluationFailed, TaskFailed
from crossdock.runners.program.fetching import Fetching
from crossdock.runners.program.internal import FETCH, InternalTasks, check
from crossdock.runners.program.jobconfig import JobConfig, Task, read_config
from crossdock.runners.program.judging import JUDGES_DIR
from crossdock.runners.program.order import ordered
from crossdock.runners.program.packing import TooMuch, pack
from crossdock.runners.program.payload import EvaluationPayload
from crossdock.runners.program.results import TaskResult, cut, done, failed, results_document, skipped, to_yaml
from crossdock.runners.program.sandbox.spec import Sandbox, SandboxError
from crossdock.runners.program.settings import EvaluationSettings
from crossdock.runners.program.transfer import Fetcher, TransferError
from crossdock.runners.program.tree import Parts
from crossdock.runners.program.variables import expand_task
from crossdock.runners.program.workspace import DOWNLOADS, RESULT, SOURCE, Workspace
from crossdock.runners.program.yamltext import NotYaml, WrongShape

_CONFIG: Final = "job-config.yml"
_LOG: Final = "job_system_log.log"
_ARCHIVE: Final = "archive"
_UNPACKED: Final = "unpacked"
_PACKED: Final = "result.zip"
_STATES: Final = {OK: "COMPLETED", FAILED: "FAILED", SKIPPED: "SKIPPED"}
_CONFIG_BYTES: Final = 8 << 20
_CHUNK: Final = 256 * 1024
_OUTPUTS: Final = (1 << 20, 16384, 2048, 256, 0)
"""Characters of a task's outputs that are tried to be in the result, one after the other."""


class Tools(Struct, frozen=True):
    """What evaluations are done with."""

    sandbox: Sandbox
    settings: EvaluationSettings
    fetcher: Fetcher
    fetching: Fetching
    artifacts: Artifacts | None


class Evaluation:
    """One evaluation.

    Args:
        tools: what it is done with.
        order: what is to be evaluated.
        workspace: where.
        attempt: who is told of the steps.
    """

    def __init__(self, tools: Tools, order: EvaluationPayload, workspace: Workspace, attempt: Attempt) -> None:
        self._tools = tools
        self._order = order
        self._workspace = workspace
        self._attempt = attempt
        self._received = b""
        self._log: list[str] = []
        self._prepared: dict[str, BoxedTask] = {}

    async def run(self) -> bytes:
        """Evaluate; return the result as JSON text.

        Raises:
            EvaluationFailed: the job is at fault.
            EvaluationErrored: this worker, the network or the choice of this worker is.
            OSError: the disk is full, or does not work.
        """
        await self._download()
        self._step("DOWNLOADED")
        config = await blocking(self._unpack)
        tasks = self._build(config)
        self._step("STARTED")
        results = await self._run_tasks(config, tasks)
        self._step("ENDED")
        document = results_document(config.id, self._tools.settings.group, results)
        archive = await self._deliver(config, to_yaml(document))
        self._step("FINISHED")
        return self._result(config, results, archive)

    def _result(self, config: JobConfig, results: Sequence[TaskResult], archive: ArtifactRef | None) -> bytes:
        """Return the result of the job. Outputs are cut until it is small enough to live with the job.

        A larger one would become an artifact itself, in which nobody sees that it names another one that has to stay.
        """
        sandbox = self._tools.sandbox
        known = {"status": OK, "archive": archive, "tier": int(sandbox.tier), "guarantees": sandbox.guarantees}
        text = b""
        for most in _OUTPUTS:
            document = results_document(config.id, self._tools.settings.group, [cut(result, most) for result in results])
            text = msgspec.json.encode({**known, "results": document})
            if len(text) <= INLINE_LIMIT:
                break
        return text

    async def _download(self) -> None:
        submission = self._order.submission
        limit = self._tools.settings.archive.archive
        with tree.create_file(self._workspace.descriptor(DOWNLOADS), (_ARCHIVE,), 0o600) as file:
            if isinstance(submission, str):
                try:
                    await self._tools.fetcher.get(submission, file, limit)
                except TransferError as error:
                    raise EvaluationErrored(f"the submission cannot be downloaded: {error}") from error
                return
            if self._tools.artifacts is None:
                raise EvaluationErrored("this worker has no access to artifacts, as which the submission is given")
            if submission.size > limit:
                raise EvaluationErrored(f"the submission has more than {limit} bytes")
            try:
                async for piece in self._tools.artifacts.read(submission):
                    file.write(piece)
            except CrossdockError as error:
                raise EvaluationErrored(f"the submission cannot be read: {error.message}") from error

    def _unpack(self) -> JobConfig:
        """Make the submission the source directory; return its configuration. It blocks."""
        downloads = self._workspace.descriptor(DOWNLOADS)
        try:
            tree.make_directories(downloads, (_UNPACKED,), 0o700)
            with tree.open_file(downloads, (_ARCHIVE,)) as file, tree.descend(downloads, (_UNPACKED,)) as target:
                unpack(file, target, self._tools.settings.archive)
        except Refused as error:
            raise EvaluationErrored(f"the submission cannot be unpacked: {error}") from error
        self._workspace.settle(self._top(downloads))
        source = self._workspace.descriptor(SOURCE)
        with tree.open_file(source, (_CONFIG,)) as file:
            text = file.read(_CONFIG_BYTES + 1)
        try:
            config = read_config(text)
        except NotYaml as error:
            raise EvaluationErrored(f"the job configuration cannot be read: {error}") from error
        except WrongShape as error:
            raise EvaluationFailed(str(error)) from error
        self._received = text
        return config

    def _top(self, downloads: int) -> Parts:
        """Return where the job configuration is: at the top, in the only directory, or in one named like the archive."""
        entries = tree.children(downloads, (_UNPACKED,))
        candidates: list[Parts] = [(_UNPACKED,)]
        directories = [entry.parts for entry in entries if entry.directory]
        if len(entries) == len(directories) == 1:
            candidates += directories
        if isinstance(self._order.submission, str):
            name = PurePosixPath(urlsplit(self._order.submission).path).name
            stems = {name.partition(".")[0], PurePosixPath(name).stem}
            candidates += [parts for parts in directories if parts[-1] in stems]
        for parts in candidates:
            found = tree.look(downloads, (*parts, _CONFIG))
            if found is not None and not found.directory:
                return parts
        raise EvaluationErrored(f"the submission has no {_CONFIG}")

    def _build(self, config: JobConfig) -> list[Task]:
        """Return the tasks in their order, with all that can be found wrong before the first of them runs."""
        settings = self._tools.settings
        if self._order.job_id not in (None, config.id):
            raise EvaluationFailed(f"the job configuration is one of {config.id!r}, not of {self._order.job_id!r}")
        if settings.group not in config.groups:
            raise EvaluationErrored(f"the job is not for the hardware group {settings.group!r}")
        variables = {
            "WORKER_ID": str(settings.worker_id),
            "JOB_ID": config.id,
            "SOURCE_DIR": str(self._workspace.source),
            "RESULT_DIR": str(self._workspace.result),
            "TEMP_DIR": str(self._workspace.temp),
            "EVAL_DIR": "/box",
            "JUDGES_DIR": JUDGES_DIR,
        }
        tasks = [expand_task(task, variables) for task in ordered(config.tasks)]
        for task in tasks:
            if task.box is None:
                check(task.binary, task.arguments)
            else:
                self._prepared[task.id] = prepare(task, task.box, self._workspace, settings)
        return tasks

    async def _run_tasks(self, config: JobConfig, tasks: list[Task]) -> list[TaskResult]:
        results: dict[str, TaskResult] = {}
        for count, task in enumerate(tasks, 1):
            result = await self._run_task(config, task, results)
            results[task.id] = result
            self._say(f"task {task.id!r}: {result.status} {result.error}".rstrip())
            self._step("TASK", task.id, _STATES[result.status])
            self._attempt.note(Note(progress=Progress(count, len(tasks), task.id)))
            if result.status == FAILED and task.type == "inner":
                raise EvaluationErrored(f"the inner task {task.id!r} failed: {result.error}")
            if result.status == FAILED and task.fatal:
                self._say(f"task {task.id!r} was needed, nothing else is run")
                break
        return list(results.values())

    async def _run_task(self, config: JobConfig, task: Task, results: dict[str, TaskResult]) -> TaskResult:
        if any(results[name].status != OK for name in task.dependencies):
            return skipped(task.id)
        try:
            return await self._execute(config, task)
        except TaskFailed as error:
            return failed(task.id, str(error), error.stderr)
        except EvaluationFailed:
            self._step("TASK", task.id, _STATES[FAILED])
            raise

    async def _execute(self, config: JobConfig, task: Task) -> TaskResult:
        workspace, settings = self._workspace, self._tools.settings
        boxed = self._prepared.get(task.id)
        if boxed is None and task.binary == FETCH:
            await self._tools.fetching.fetch(config.collector, *task.arguments, workspace=workspace)
            return done(task.id)
        if boxed is None:
            internal = InternalTasks(workspace, settings.archive, settings.max_results)
            await blocking(internal.run, task.binary, task.arguments)
            return done(task.id)
        await blocking(make_ready, boxed, workspace)
        try:
            verdict = await self._tools.sandbox.run(boxed.program)
        except SandboxError as error:
            raise EvaluationErrored(f"task {task.id!r} cannot be run: {error}") from error
        return await blocking(conclude, boxed, verdict, workspace, settings)

    async def _deliver(self, config: JobConfig, results: str) -> ArtifactRef | None:
        """Send the results archive off; return where it rests, if it does here."""
        try:
            packed = await blocking(self._pack, config, results)
        except (OSError, TooMuch) as error:
            # As the real worker has it: the job is done, only its archive is missing.
            self._attempt.note(Note(log=f"the results could not be packed: {error}"))
            return None
        with packed:
            if self._order.result_url is not None:
                try:
                    await self._tools.fetcher.put(self._order.result_url, packed)
                except TransferError as error:
                    raise EvaluationErrored(f"the results cannot be uploaded: {error}") from error
                archive = None
            else:
                archive = await self._keep(packed)
        if archive is not None or self._order.result_url is not None:
            self._step("UPLOADED")
        return archive

    async def _keep(self, packed: BinaryIO) -> ArtifactRef | None:
        if self._tools.artifacts is None:
            return None
        try:
            return await self._tools.artifacts.put(_pieces(packed), "application/zip")
        except CrossdockError as error:
            raise EvaluationErrored(f"the results cannot be kept: {error.message}") from error

    def _pack(self, config: JobConfig, results: str) -> BinaryIO:
        """Write ``result.yml``, the configuration and the log, and pack everything; return the open archive. It blocks."""
        root = self._workspace.descriptor(RESULT)
        files = {"result.yml": results.encode(), _CONFIG: self._received}
        if config.log:
            files[_LOG] = "".join(f"{line}\n" for line in self._log).encode("utf-8", "backslashreplace")
        for name, content in files.items():
            with tree.create_file(root, (name,), replace=True) as file:
                file.write(content)
        with tree.create_file(self._workspace.descriptor(DOWNLOADS), (_PACKED,), 0o600) as packed:
            pack(root, (), packed, "result", self._tools.settings.max_results)
        return tree.open_file(self._workspace.descriptor(DOWNLOADS), (_PACKED,))

    def _say(self, line: str) -> None:
        self._log.append(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {line}")

    def _step(self, phase: str, task: str = "", state: str = "") -> None:
        if phase != "TASK":
            self._say(phase)
        self._attempt.note(Note(step=Step(phase, task, state)))


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := file.read(_CHUNK):
        yield piece
