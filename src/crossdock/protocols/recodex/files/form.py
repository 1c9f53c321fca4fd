"""Forms as browsers and clients send files in (multipart/form-data, RFC 7578), read as they come and never held whole."""

from collections.abc import AsyncIterator
from email import message_from_string
from email.message import Message
from typing import Final

from crossdock.core.errors import Code, CrossdockError

_HEADERS: Final = 8192
_PADDING: Final = 256
_BOUNDARY: Final = 70
"""Characters that a boundary may have (RFC 2046)."""


class Part:
    """One field of a form. Its content has to be read before the next part is asked for; what is left is skipped."""

    def __init__(self, name: str, content: AsyncIterator[bytes]) -> None:
        self.name = name
        self.content = content


async def read_form(content_type: str, body: AsyncIterator[bytes]) -> AsyncIterator[Part]:
    """Yield the parts of a form.

    Args:
        content_type: the header of that name.
        body: the content, in pieces of any size.

    Raises:
        CrossdockError: ``invalid`` if it is no form, or one that ends early.
    """
    buffer = _Buffer(body, b"\r\n--" + _boundary(content_type))
    await _skip(buffer.content())
    while await buffer.line(_PADDING) == b"":
        part = Part(_name(await buffer.headers()), buffer.content())
        yield part
        await _skip(part.content)
    await _skip(body)  # else the connection could not be used again


class _Buffer:
    """Content between delimiters. It begins as if a line had just ended, as the first delimiter may be the first thing."""

    def __init__(self, body: AsyncIterator[bytes], delimiter: bytes) -> None:
        self._body = body
        self._delimiter = delimiter
        self._bytes = bytearray(b"\r\n")

    async def content(self) -> AsyncIterator[bytes]:
        """Yield everything up to the next delimiter, which is consumed."""
        tail = len(self._delimiter) - 1
        while (end := self._bytes.find(self._delimiter)) < 0:
            if len(self._bytes) > tail:
                yield self._take(len(self._bytes) - tail)
            await self._more()
        if end:
            yield self._take(end)
        self._take(len(self._delimiter))

    async def line(self, most: int) -> bytes:
        """Return what follows a delimiter on its line, without blanks: nothing before a part, two hyphens at the end."""
        while (end := self._bytes.find(b"\r\n")) < 0:
            if self._bytes.startswith(b"--"):
                return b"--"
            if len(self._bytes) > most:
                raise _malformed("there is something behind a boundary")
            await self._more()
        rest = self._take(end + 2).strip(b" \t\r\n")
        if rest and not rest.startswith(b"--"):
            raise _malformed("there is something behind a boundary")
        return rest[:2]

    async def headers(self) -> bytes:
        """Return the headers of a part."""
        while (end := self._bytes.find(b"\r\n\r\n")) < 0:
            if len(self._bytes) > _HEADERS:
                raise _malformed("the headers of a part are too long")
            await self._more()
        return self._take(end + 4)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._bytes[:count])
        del self._bytes[:count]
        return taken

    async def _more(self) -> None:
        async for piece in self._body:
            self._bytes += piece
            return
        raise _malformed("it ends early")


def _boundary(content_type: str) -> bytes:
    headers = Message()
    headers["content-type"] = content_type.replace("\r", " ").replace("\n", " ")
    boundary = headers.get_boundary()
    if headers.get_content_type() != "multipart/form-data" or not boundary or len(boundary) > _BOUNDARY:
        raise CrossdockError(Code.INVALID, "a form is expected: Content-Type: multipart/form-data with a boundary")
    return boundary.encode("latin-1", "replace")


def _name(headers: bytes) -> str:
    try:
        part = message_from_string(headers.decode())
    except UnicodeDecodeError:
        raise _malformed("the headers of a part are not UTF-8") from None
    name = part.get_param("name", header="content-disposition")
    if not isinstance(name, str) or part.get_content_disposition() != "form-data":
        raise _malformed("a part has no name")
    return name


async def _skip(pieces: AsyncIterator[bytes]) -> None:
    async for _ in pieces:
        pass


def _malformed(reason: str) -> CrossdockError:
    return CrossdockError(Code.INVALID, f"the form is malformed: {reason}")
