"""The parameters of the members of arrays: counted up from a range, or read from a table."""

from collections.abc import Sequence
from typing import Final

import msgspec

from crossdock.core.documents import load
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import ArraySpec, Document
from crossdock.core.ports import Artifacts

Rows = Sequence[dict[str, object]]

_rows: Final = msgspec.json.Decoder(list[dict[str, object]])
_object: Final = msgspec.json.Decoder(dict[str, object])


def decode_rows(text: bytes) -> Rows:
    """Return the rows of a table, a JSON array of objects.

    Raises:
        CrossdockError: ``invalid``.
    """
    try:
        return _rows.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise CrossdockError(Code.INVALID, f"the table of an array has to be a JSON array of objects: {error}") from None


async def read_rows(artifacts: Artifacts, spec: ArraySpec) -> Rows | None:
    """Return the rows of an array's table, None if it has none.

    Raises:
        CrossdockError: ``not_found`` if the table is gone, ``invalid`` if it does not have a row for each member.
    """
    if spec.table is None:
        return None
    rows = decode_rows(await load(artifacts, spec.table))
    if len(rows) != spec.count:
        raise CrossdockError(Code.INVALID, f"the table has {len(rows)} rows, but the array {spec.count} members")
    return rows


def parameters(spec: ArraySpec, rows: Rows | None, index: int) -> dict[str, object]:
    """Return what member ``index`` adds to the template."""
    return {spec.name: spec.start + index * spec.step} if rows is None else rows[index]


def member_payload(template: Document, added: dict[str, object]) -> bytes:
    """Return the payload of a member: the template's members and the member's own, which win.

    Raises:
        CrossdockError: ``invalid`` if the template is no JSON object.
    """
    try:
        members = _object.decode(template if isinstance(template, bytes) else b"{}")
    except (msgspec.DecodeError, RecursionError) as error:
        text = f"the payload of an array is a template and has to be a JSON object: {error}"
        raise CrossdockError(Code.INVALID, text) from None
    return msgspec.json.encode({**members, **added})
