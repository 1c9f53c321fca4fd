"""A job and the jobs that it needs, made together: all of them are admitted in one transaction, or none."""

from collections.abc import Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from crossdock.core.documents import is_large, load, shelve
from crossdock.core.errors import CrossdockError
from crossdock.core.identifiers import IdSource
from crossdock.core.jobs import Document, Job
from crossdock.core.kinds import Kind
from crossdock.core.needs import needed, share
from crossdock.core.ports import Artifacts
from crossdock.core.requests import Record, Submit
from crossdock.core.submission import check_submit, new_job


class Need(Struct, frozen=True):
    """A member of a payload that is still to come, the submit of the job that makes it, and what that one needs in turn."""

    member: str
    request: Submit
    needs: "tuple[Need, ...]" = ()


class Family(Struct):
    """Jobs that are admitted together: ``jobs`` ends with the one that was asked for.

    ``waits`` are the unfinished jobs that each of them waits for, ``records`` what is stored with them.
    """

    jobs: list[Job] = field(default_factory=list[Job])
    waits: dict[int, tuple[int, ...]] = field(default_factory=dict[int, tuple[int, ...]])
    records: list[Record] = field(default_factory=list[Record])

    @property
    def head(self) -> Job:
        """The job that was asked for."""
        return self.jobs[-1]

    def add(self, other: "Family") -> None:
        """Take in the jobs of another submit of the same batch."""
        self.jobs += other.jobs
        self.waits |= other.waits
        self.records += other.records


async def needs_of(request: Submit, kind: Kind, kinds: Mapping[str, Kind], artifacts: Artifacts) -> tuple[Need, ...]:
    """Return what a submit needs, checked and with its documents as they are kept.

    Raises:
        CrossdockError: as for any submit, naming the member that cannot be had.
    """
    payload = await load(artifacts, request.payload)
    needs: list[Need] = []
    for member, name in kind.needs.items():
        wanted = needed(request, name, share(payload, kinds[name]) if name in kinds else payload)
        try:
            needed_kind = check_submit(wanted, kinds)
        except CrossdockError as error:
            template = ", which gets the template of an array" if request.array is not None else ""
            raise CrossdockError(error.code, f"{member!r} comes of {name!r}{template}: {error.message}") from None
        further = await needs_of(wanted, needed_kind, kinds, artifacts) if needed_kind.needs else ()
        payload_kept = await shelve(artifacts, wanted.payload)
        needs.append(Need(member, replace(wanted, payload=payload_kept, requirements=needed_kind.requirements), further))
    return tuple(needs)


async def shelved(request: Submit, artifacts: Artifacts) -> Submit:
    """Return a submit whose large payload or table has become an artifact."""
    payload = await shelve(artifacts, request.payload)
    array = request.array
    if array is not None and array.table is not None and is_large(array.table):
        array = replace(array, table=await shelve(artifacts, array.table))
    return replace(request, payload=payload, array=array)


def make(
    request: Submit, needs: Sequence[Need], waits: tuple[int, ...], ids: IdSource, wall: float, batch: int | None
) -> Family:
    """Return the jobs of a submit.

    Args:
        request: what was submitted, with its documents as they are kept.
        needs: what it needs.
        waits: the unfinished jobs that it comes after.
        ids: where ids come from.
        wall: the time.
        batch: the batch that the job, but none of those it needs, belongs to.
    """
    family = Family()
    if needs:
        request, names, needed_ids = _expand(request, needs, family, {}, ids, wall)
        job = replace(new_job(request, ids.next(wall), wall, batch, waits=True), needs=names)
        waits = (*waits, *needed_ids)
    else:
        job = new_job(request, ids.next(wall), wall, batch, waits=bool(waits))
    if waits:
        family.waits[job.id] = waits
    family.jobs.append(job)
    if request.records:
        family.records += [record for member in family.jobs for record in _bound(request.records, member, job)]
    return family


def _expand(
    request: Submit,
    needs: Sequence[Need],
    family: Family,
    known: dict[tuple[str, Document], int],
    ids: IdSource,
    wall: float,
) -> tuple[Submit, tuple[str, ...], tuple[int, ...]]:
    """Make the jobs that are needed; return the submit to come after them, their members, and their ids.

    Two that would do the same are one.
    """
    found: list[int] = []
    for need in needs:
        wanted, names, parents = _expand(need.request, need.needs, family, known, ids, wall)
        same = (wanted.kind, wanted.payload)
        if same not in known:
            job = replace(new_job(wanted, ids.next(wall), wall, None, waits=bool(parents)), needs=names)
            known[same] = job.id
            family.jobs.append(job)
            if parents:
                family.waits[job.id] = parents
        found.append(known[same])
    return (
        replace(request, after=(*request.after, *found)),
        tuple(need.member for need in needs),
        tuple(dict.fromkeys(found)),
    )


def _bound(records: Sequence[Record], member: Job, head: Job) -> list[Record]:
    """Return records as they are stored for one job: those with an empty key for each, the others for the head."""
    return [
        replace(record, key=record.key or str(member.id), value=record.value.replace(b"{job}", b"%d" % member.id))
        for record in records
        if not record.key or member is head
    ]
