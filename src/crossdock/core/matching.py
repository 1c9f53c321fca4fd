"""Requirements of jobs against capabilities of workers.

The rules are those of ReCodEx, which are general enough for everybody: a requirement is met if some capability of the
same name matches; ``hwgroup=a|b`` asks for one of several groups, ``threads=4`` for at least four, everything else for
equal bytes; all requirements have to be met, and a job without any runs everywhere.

Matching does not look at queues: jobs with equal canonical requirements form a *requirement class*, and a worker is
compared with each class once.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from crossdock.core.jobs import Job, Requirements
from crossdock.core.requests import Capabilities

_COUNT: Final = re.compile(r"[ \t\n\v\f\r]*([+-]?)([0-9]+)")
_UNSIGNED: Final = 1 << 64


@lru_cache(maxsize=4096)
def requirement_class(kind: str, requirements: Requirements) -> Requirements:
    """Return the canonical form of a job's requirements; its kind is one of them."""
    return tuple(sorted((*requirements, ("kind", kind))))


def class_of(job: Job) -> Requirements:
    """Return the requirement class of a job."""
    return requirement_class(job.kind, job.requirements)


def unmet(requirements: Iterable[tuple[str, str]], capabilities: Capabilities) -> list[tuple[str, str]]:
    """Return the requirements that the capabilities do not meet."""
    return [(name, value) for name, value in requirements if not _met(name, value, capabilities)]


def matches(requirements: Requirements, capabilities: Capabilities) -> bool:
    """Tell whether the capabilities meet all requirements."""
    return all(_met(name, value, capabilities) for name, value in requirements)


def parse_count(text: str) -> int | None:
    """Read a number of threads as the original broker does (C ``stoul``): blanks and a sign before it, anything after it.

    Returns None without digits, where the original would abort.
    """
    found = _COUNT.match(text)
    if found is None:
        return None
    number = int(found[2].lstrip("0")[:21] or "0")
    if number >= _UNSIGNED:
        return _UNSIGNED - 1
    return (_UNSIGNED - number) % _UNSIGNED if found[1] == "-" else number


def _met(name: str, value: str, capabilities: Capabilities) -> bool:
    offered = capabilities.values.get(name, ())
    if name == "hwgroup":
        return value in offered or _in_group(value, capabilities.group)
    if name == "threads":
        wanted = parse_count(value)
        counts = (parse_count(text) for text in offered)
        return wanted is not None and any(count is not None and wanted <= count for count in counts)
    return value in offered


def _in_group(value: str, group: str | None) -> bool:
    alternatives = value.split("|")
    if alternatives[-1] == "":
        alternatives.pop()
    return group is not None and group in alternatives
