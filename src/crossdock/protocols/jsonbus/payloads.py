"""What a message asks for, as the payload of a job, and whether two requests ask for the same."""

from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Raw

from crossdock.protocols.jsonbus.json_text import canonical, read_members
from crossdock.protocols.jsonbus.messages import Request

_DATA: Final = "data"
_NULL: Final = b"null"

_lists: Final = msgspec.json.Decoder(list[Raw])


def payload_of(params: bytes | None, data: bytes | None) -> bytes:
    """Return the payload of a message: the members of its params, and its data under the name ``data``.

    Without params it is an object all the same. Params that are a list are an object with the names 0, 1, 2 …, as the PHP
    library reads and writes them. Data that are null are none; others take the place of a member ``data`` of the params.
    """
    params = params or b"{}"
    is_list = params[:1] == b"["
    if data in (None, _NULL) and not is_list:
        return params
    members = {str(i): value for i, value in enumerate(_lists.decode(params))} if is_list else read_members(params)
    if data is not None and data != _NULL:
        members[_DATA] = Raw(data)
    return msgspec.json.encode(members)


def data_of(payload: bytes) -> bytes | None:
    """Return the member ``data`` of a payload, which a message has as its own member beside its params."""
    if b'"data"' not in payload:
        return None
    data = read_members(payload).get(_DATA)
    return None if data is None else bytes(data)


def fingerprint(request: Request) -> str:
    """Return what tells requests apart under one id: 64 hexadecimal digits.

    Requests are the same if they have the same subject and make the same payload; the order of members, whitespace and
    members that the protocol does not know do not matter.
    """
    subject = msgspec.json.encode(request.subject)
    return sha256(b"%b\n%b" % (subject, canonical(payload_of(request.params, request.data)))).hexdigest()
