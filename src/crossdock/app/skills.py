"""What workers can do: the runners of an App and of evaluations, with the kinds they run and what they offer."""

import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from crossdock.config import Config, Evaluation
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.extras import extra
from crossdock.core.kinds import Kind
from crossdock.core.policy import Policy
from crossdock.core.ports import Artifacts, Dispatch, Runner
from crossdock.core.requests import LOCAL, Capabilities, WorkerInfo
from crossdock.runners.function import App, FunctionRunner
from crossdock.worker import Worker

if TYPE_CHECKING:
    from crossdock.runners.program.settings import FileManager

Own = Sequence["FileManager"]
"""Our own file server as others reach it: one, or none."""

EVALUATION: Final = "evaluation"
"""The kind whose jobs are archives with a job configuration and a submitted program."""

_SCHEMA: Final = {
    "type": "object",
    "required": ["submission"],
    "properties": {
        "submission": {
            "description": "URL of an archive with job-config.yml at its root, or a reference to it as an artifact",
            "oneOf": [
                {"type": "string", "pattern": "^https?://"},
                {"type": "object", "required": ["digest", "size"], "properties": {"digest": {"type": "string"}}},
            ],
        },
        "result_url": {"description": "where the results archive is put; else it becomes an artifact", "type": "string"},
        "job_id": {"description": "what job-config.yml has to call itself", "type": "string"},
    },
}


class Skill(Struct, frozen=True, kw_only=True):
    """Something a worker can do: its runner by the name that kinds give, and what it adds to what the worker offers."""

    name: str
    runner: Runner
    kinds: Mapping[str, Kind]
    slots: int
    group: str | None = None
    offers: Mapping[str, tuple[str, ...]] = {}
    description: str = ""


def worker_of(
    skills: list[Skill],
    config: Config,
    dispatch: Dispatch,
    artifacts: Artifacts,
    *,
    offers: Capabilities | None = None,
    slots: int | None = None,
    local: bool = False,
) -> Worker:
    """Return a worker with these skills; ``offers`` is what it has beside what the configuration says."""
    offers = offers or Capabilities()
    kinds = {name: kind for skill in skills for name, kind in skill.kinds.items()}
    values = {name: value for skill in skills for name, value in skill.offers.items()}
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
    info = WorkerInfo(
        id=f"{LOCAL}{name}" if local else name,
        slots=slots or max(skill.slots for skill in skills),
        capabilities=Capabilities(
            group=offers.group or config.worker.hwgroup or next((skill.group for skill in skills if skill.group), None),
            values={**values, **config.worker.capabilities, **offers.values, "kind": tuple(kinds)},
        ),
        description=", ".join(skill.description for skill in skills),
        local=local,
    )
    return Worker(dispatch, artifacts, {skill.name: skill.runner for skill in skills}, kinds, info)


def functions(config: Config, artifacts: Artifacts, reference: str, app: App) -> Skill:
    """Return the skill to run the functions of an App; ``reference`` is where child processes find it."""
    table = config.worker
    slots = table.slots or os.cpu_count() or 1
    runner = FunctionRunner(
        app,
        reference,
        processes=slots,
        artifacts=artifacts,
        memory=table.memory or None,
        recycle_after=table.recycle_after,
        recycle_memory=table.recycle_memory,
    )
    return Skill(name="function", runner=runner, kinds=app.kinds(), slots=slots, description=reference)


def evaluation_kind(config: Config) -> Kind:
    """Return the kind of evaluations: what ReCodEx says about retries and about jobs that nobody can run."""
    recodex = config.recodex
    policy = Policy()
    if recodex is not None:
        policy = Policy(
            attempts=recodex.max_failures, backoff=0.1, backoff_max=5.0, unroutable_timeout=recodex.unroutable_timeout
        )
    return Kind(
        name=EVALUATION,
        runner="program",
        policy=policy,
        title="Evaluation of a submitted program",
        description="Unpacks a submission, compiles and runs it in a sandbox as its job configuration says, and judges it.",
        inputs=_SCHEMA,
        check=_check_payload,
    )


def _check_payload(payload: bytes) -> None:
    from crossdock.runners.program.payload import EvaluationPayload

    try:
        order = msgspec.json.decode(payload, type=EvaluationPayload)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise CrossdockError(Code.INVALID, f"the payload of an evaluation: {error}") from None
    for url in (order.submission, order.result_url):
        if isinstance(url, str) and not url.startswith(("http://", "https://")):
            raise CrossdockError(Code.INVALID, f"an evaluation takes http and https URLs, not {url[:80]!r}")


def evaluation_slots(table: Evaluation, slots: int | None = None) -> int:
    """Return how many programs run at once: one on a core of its own, so that its time is measured well."""
    return slots or table.slots or max(1, (os.cpu_count() or 2) // 2)


async def evaluations(
    config: Config,
    artifacts: Artifacts,
    *,
    slots: int | None = None,
    group: str | None = None,
    own: Own = (),
) -> Skill:
    """Return the skill to evaluate programs, with its sandbox started.

    Args:
        config: limits and places.
        artifacts: where submissions and results rest that have no URL.
        slots: how many at once, if not what the configuration says.
        group: the hardware group, if not the worker's of the configuration.
        own: our own file server, which is allowed beside those of the configuration.

    Raises:
        CrossdockError: ``unavailable`` if no sandbox is as good as the configuration demands; ``invalid`` if packages that
            evaluations need are missing.
    """
    with extra("recodex", "evaluations need"):
        from crossdock.app.evaluating import program_runner
    table = config.evaluation or Evaluation()
    count = evaluation_slots(table, slots)
    place = Path(table.directory) if table.directory else Path(config.data) / "evaluation"
    group = group or config.worker.hwgroup or "default"
    runner, tier = await program_runner(config, table, artifacts, place, count, group, own)
    return Skill(
        name="program",
        runner=runner,
        kinds={EVALUATION: evaluation_kind(config)},
        slots=count,
        group=group,
        offers={"tier": tuple(str(number) for number in range(tier, 5))},
        description=f"evaluations in sandbox tier {tier}",
    )
