"""The payloads of an array's members: the template object with each member's own parameters put in."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from crossdock.core.errors import Code, CrossdockError


def merged(template: bytes, parameters: Iterable[Mapping[str, object]]) -> Iterator[bytes]:
    """Yield the JSON text of each member's payload.

    Raises:
        CrossdockError: ``invalid`` if the template is no JSON object; at once, not at the first member.
    """
    try:
        # The values stay as the text they are: only the outermost object is of interest.
        common = msgspec.json.decode(template, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CrossdockError(Code.INVALID, f"the template of an array has to be a JSON object: {error}") from None
    return (msgspec.json.encode({**common, **own}) for own in parameters)
