"""JSON as RFC 8259 means it. What Python's parser lets through silently is refused here with a clear text.

Refused: NaN and infinities, numbers that overflow, names given twice, lone surrogates, deep nesting, very long integers.
"""

import asyncio
import json
import math
import re
from typing import Final, NoReturn

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.json_size import check_size

MAX_DEPTH: Final = 100
MAX_DIGITS: Final = 1000
INLINE_BYTES: Final = 64 * 1024
"""Texts up to this size are parsed on the event loop: a thread would cost more than it saves."""

_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|([\[{])|([\]}])', re.DOTALL)


async def parse(text: bytes) -> object:
    """Return the value of a JSON text, parsed in a thread when it is big.

    Raises:
        CrossdockError: ``invalid``.
    """
    if len(text) <= INLINE_BYTES:
        return strict_json(text)
    return await asyncio.to_thread(strict_json, text)


def strict_json(text: bytes) -> object:
    """Return the value of a JSON text in UTF-8.

    Raises:
        CrossdockError: ``invalid``, with what is wrong and where; ``too_large`` if there is too much in it.
    """
    check_size(text)
    _check_depth(text)
    try:
        value = _DECODER.decode(text.decode("utf-8"))
        if b"\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise _invalid(f"not UTF-8 at byte {error.start}") from None
    except UnicodeEncodeError:
        raise _invalid("a string has half of a surrogate pair") from None
    except json.JSONDecodeError as error:
        raise _invalid(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise _invalid("it is nested too deeply") from None
    return value


def _check_depth(text: bytes) -> None:
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _BRACKETS.finditer(text):
        if token.lastindex == 1:
            depth += 1
            if depth > MAX_DEPTH:
                raise _invalid(f"it is nested deeper than {MAX_DEPTH} levels")
        elif token.lastindex == 2:  # noqa: PLR2004 - the second group of the pattern
            depth -= 1


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise _invalid(f"the name {twice[:40]!r} is given twice")
    return members


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _invalid(f"the number {digits[:40]} is too large")
    return number


def _int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _invalid(f"an integer has more than {MAX_DIGITS} digits")
    return int(digits)


def _constant(name: str) -> NoReturn:
    raise _invalid(f"{name} is not JSON")


def _invalid(why: str) -> CrossdockError:
    return CrossdockError(Code.INVALID, f"the JSON text cannot be read: {why}")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_members, parse_float=_float, parse_int=_int, parse_constant=_constant)
