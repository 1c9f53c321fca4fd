"""From what the core knows to the documents of the standard. No input, output or clock."""

from collections.abc import Mapping
from typing import Final, cast

from msgspec import Raw

from crossdock.core.identifiers import MemberId, encode_id, encode_member
from crossdock.core.jobs import Job, Tally
from crossdock.core.kinds import Kind
from crossdock.core.lifecycle import State
from crossdock.core.requests import Entry, MemberView, WorkerView
from crossdock.protocols.ogc.messages import (
    Counts,
    Detail,
    Link,
    LogEntry,
    Parameter,
    Process,
    ProcessDetail,
    ProcessSummary,
    Status,
    StatusInfo,
    Steps,
    WorkerDocument,
)
from crossdock.protocols.ogc.times import maybe, rfc3339

STATUS: Final[Mapping[State, Status]] = {
    State.WAITING: "accepted",
    State.READY: "accepted",
    State.LEASED: "running",
    State.SUCCEEDED: "successful",
    State.FAILED: "failed",
    State.CANCELLED: "dismissed",
}

_REL: Final = "http://www.opengis.net/def/rel/ogc/1.0/"
RESULTS: Final = _REL + "results"
EXCEPTIONS: Final = _REL + "exceptions"
JOB_LIST: Final = _REL + "job-list"
PROCESSES: Final = _REL + "processes"
CONFORMANCE: Final = _REL + "conformance"
EXECUTE: Final = _REL + "execute"
JSON: Final = "application/json"


def status_info(job: Job, base: str, why: str = "") -> StatusInfo:
    """Return the status document of a job. ``base`` is the server's URL, ``why`` says why it does not run."""
    identifier = encode_id(job.id)
    return StatusInfo(
        process_id=job.kind,
        type="process",
        job_id=identifier,
        status=STATUS[job.state],
        message=_message(job),
        created=rfc3339(job.created),
        started=maybe(job.started),
        finished=maybe(job.finished),
        updated=rfc3339(job.finished or job.started or job.created),
        progress=percent(job),
        links=_job_links(f"{base}/jobs/{identifier}", job.state),
        crossdock=_detail(job, why),
    )


def member_status(job: Job, member: MemberView, base: str) -> StatusInfo:
    """Return the status document of one member of an array."""
    identifier = encode_member(MemberId(job.id, member.index))
    links = _job_links(f"{base}/jobs/{identifier}", member.state)
    return StatusInfo(
        process_id=job.kind,
        type="process",
        job_id=identifier,
        status=STATUS[member.state],
        message=member.message,
        created=rfc3339(job.created),
        progress=100 if member.state is State.SUCCEEDED else 0,
        links=[link for link in links if not link.href.endswith("/events")],
        crossdock=Detail(state=member.state, attempt=member.attempt, code=member.code, tenant=job.tenant),
    )


def percent(job: Job) -> int:
    """Return how far a job is, 0 to 100; 100 only once it has succeeded."""
    if job.state is State.SUCCEEDED:
        return 100
    done, total = 0.0, 0.0
    if job.tally is not None:
        done, total = job.tally.finished, job.tally.total
    elif job.progress is not None:
        done, total = job.progress.done, job.progress.total
    if not total > 0:
        return 0
    return max(0, min(99, int(100 * done / total)))


def counts(tally: Tally) -> Counts:
    """Return counts for the wire."""
    return Counts(total=tally.total, succeeded=tally.succeeded, failed=tally.failed, cancelled=tally.cancelled)


def log_entry(entry: Entry) -> LogEntry:
    """Return the data of the server-sent event for a log entry."""
    data = Raw(entry.data) if entry.data else None
    return LogEntry(offset=entry.offset, at=rfc3339(entry.at), event=entry.event, data=data)


def summary(kind: Kind, base: str) -> ProcessSummary:
    """Return the entry of a kind in the list of processes."""
    return ProcessSummary(
        id=kind.name,
        version="1.0.0",
        title=kind.title or kind.name,
        description=kind.description,
        job_control_options=["sync-execute", "async-execute", "dismiss"],
        output_transmission=["value"],
        links=[
            Link(f"{base}/processes/{kind.name}", "self", JSON, "description"),
            Link(f"{base}/processes/{kind.name}/execution", EXECUTE, JSON, "execute"),
        ],
    )


def process(kind: Kind, base: str) -> Process:
    """Return the description of a kind."""
    head = summary(kind, base)
    return Process(
        **{name: getattr(head, name) for name in head.__struct_fields__},
        inputs=_inputs(kind),
        outputs={"result": Parameter(title="result", schema=kind.outputs or {}, description="what the job returned")},
        crossdock=ProcessDetail(raw=kind.raw),
    )


def worker(view: WorkerView) -> WorkerDocument:
    """Return an attached worker for operators."""
    info = view.info
    return WorkerDocument(
        id=info.id,
        description=info.description,
        slots=info.slots,
        busy=len(view.leases),
        draining=view.draining,
        kinds=sorted(info.capabilities.values.get("kind", ())),
        group=info.capabilities.group,
        seen=rfc3339(view.seen),
        idle_since=maybe(view.idle_since),
    )


def _inputs(kind: Kind) -> dict[str, Parameter]:
    if kind.raw:
        return {"payload": Parameter(title="payload", schema=kind.inputs, description="any JSON value")}
    schemas = cast("Mapping[str, dict[str, object]]", kind.inputs.get("properties", {}))
    required = cast("list[str]", kind.inputs.get("required", []))
    definitions = kind.inputs.get("$defs")
    shared = {} if definitions is None else {"$defs": definitions}
    return {
        name: Parameter(
            title=str(schema.get("title", name)),
            schema={**schema, **shared},
            description=str(schema.get("description", "")),
            min_occurs=1 if name in required else 0,
        )
        for name, schema in schemas.items()
    }


def _job_links(url: str, state: State) -> list[Link]:
    links = [Link(url, "self", JSON), Link(f"{url}/events", "monitor", "text/event-stream")]
    if state is State.SUCCEEDED:
        links.append(Link(f"{url}/results", RESULTS, JSON))
    elif state in (State.FAILED, State.CANCELLED):
        links.append(Link(f"{url}/results", EXCEPTIONS, "application/problem+json"))
    return links


def _message(job: Job) -> str:
    if job.message:
        return job.message
    if job.cancel_requested and not job.terminal:
        return "asked to stop"
    return job.progress.message if job.progress is not None else ""


def _detail(job: Job, why: str) -> Detail:
    progress = job.progress
    tally = Tally(total=job.array.count) if job.tally is None and job.array is not None else job.tally
    return Detail(
        state=job.state,
        attempt=job.attempt,
        priority=job.priority,
        tenant=job.tenant,
        worker=job.worker,
        code=job.code,
        batch=None if job.batch is None else encode_id(job.batch),
        retry_of=None if job.retry_of is None else encode_id(job.retry_of),
        cancel_requested=job.cancel_requested,
        why=why,
        steps=None if progress is None else Steps(progress.done, progress.total, progress.message),
        members=None if tally is None else counts(tally),
    )
