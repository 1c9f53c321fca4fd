"""The App: functions that are kinds of jobs."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from msgspec.structs import replace

from crossdock.core.jobs import Requirements
from crossdock.core.kinds import Kind
from crossdock.core.policy import Policy
from crossdock.runners.function.signature import Parameters, result_schema

_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}
_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMG]I?)?B?\s*", re.IGNORECASE)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_F = TypeVar("_F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Function:
    """A registered function: the kind it is, what it takes, and which exceptions are the job's own fault."""

    kind: Kind
    call: Callable[..., object]
    parameters: Parameters
    asynchronous: bool
    fatal: tuple[type[BaseException], ...]


class App:
    """A collection of functions that run as jobs."""

    def __init__(self) -> None:
        self.functions: Final[dict[str, Function]] = {}

    def function(  # noqa: PLR0913 - every option of a kind is a keyword here
        self,
        name: str,
        *,
        raw: bool = False,
        title: str = "",
        description: str | None = None,
        public: bool = False,
        requires: Mapping[str, str | int | Sequence[str | int]] | None = None,
        needs: Mapping[str, str] | None = None,
        memory: int | str | None = None,
        retries: int = 2,
        backoff: float = Policy().backoff,
        non_retryable: Sequence[str | type[BaseException]] = (),
        timeout: float | None = None,
        queue_timeout: float | None = None,
        total_timeout: float | None = None,
        lease: float = Policy().lease,
        grace: float = Policy().grace,
        keep: float = Policy().keep,
    ) -> Callable[[_F], _F]:
        """Register the decorated function under ``name``; it stays an ordinary function.

        Its parameters are the payload's members, checked before a job is accepted; a first parameter that is annotated
        with Context (or named ``ctx``) gets the job's context. Sync functions run in child processes that can be killed,
        async ones in the event loop. All durations are seconds.

        Args:
            name: what clients ask for: letters, digits, dots, dashes and underscores.
            raw: the single parameter gets the payload as it is, any JSON value.
            title: a heading for people.
            description: defaults to the docstring.
            public: the kind may be started over LONGPOST without an API key.
            requires: what a worker has to offer, by name: a value, or several that all have to be there.
            needs: parameters that clients leave out, as they are results of other kinds of jobs: by parameter, the kind.
                A job of that kind is made with each job, and gets the members of its payload that it knows.
            memory: bytes a child process with all its descendants may use, also as "512MB" or "2GiB".
            retries: attempts after the first, if one raises, is lost or takes too long.
            backoff: pause before the second attempt; each further one is twice as long.
            non_retryable: exceptions, or codes of outcomes, after which the job fails at once.
            timeout: limit of one attempt.
            queue_timeout: limit of the time until the first attempt.
            total_timeout: limit of the time from submit to end.
            lease: heartbeat timeout, after which an attempt counts as lost.
            grace: how long a cancelled attempt may go on before it is killed.
            keep: how long the finished job stays readable.

        Raises:
            ValueError: if the name is taken or malformed, or a number makes no sense.
            TypeError: if the signature cannot be filled from a payload.
        """
        policy = Policy(
            attempts=_not_negative("retries", retries) + 1,
            backoff=backoff,
            non_retryable=tuple(code for code in non_retryable if isinstance(code, str)),
            timeout=timeout,
            queue_timeout=queue_timeout,
            total_timeout=total_timeout,
            lease=lease,
            grace=grace,
            keep=keep,
        )
        kind = Kind(
            name=name,
            policy=policy,
            requirements=_requirements(requires or {}),
            title=title,
            raw=raw,
            public=public,
            memory=parse_size(memory),
            needs=dict(needs or {}),
        )
        fatal = tuple(error for error in non_retryable if not isinstance(error, str))

        def register(function: _F) -> _F:
            self._refuse_name(name, function)
            self.functions[name] = _registered(kind, description, function, fatal)
            return function

        return register

    def kinds(self) -> dict[str, Kind]:
        """Return the kinds of jobs that the registered functions are."""
        return {name: function.kind for name, function in self.functions.items()}

    def _refuse_name(self, name: str, function: Callable[..., object]) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a function: use letters, digits, dots, dashes and underscores")
        if name in self.functions:
            other = self.functions[name].call
            raise ValueError(f"{name!r} is registered twice: by {_place(other)} and by {_place(function)}")


def _registered(
    kind: Kind, description: str | None, function: Callable[..., object], fatal: tuple[type[BaseException], ...]
) -> Function:
    description = inspect.getdoc(function) or "" if description is None else description
    parameters = Parameters(function, kind.raw, kind.needs)
    outputs = result_schema(function)
    kind = replace(kind, description=description, inputs=parameters.schema, outputs=outputs, check=parameters.check)
    return Function(kind, function, parameters, inspect.iscoroutinefunction(function), fatal)


def parse_size(size: int | str | None) -> int | None:
    """Return a number of bytes written as a number or as "512MB", "1.5 GiB" and so on.

    Raises:
        ValueError: if it is neither, or not positive.
    """
    if size is None:
        return None
    match = _SIZE.fullmatch(str(size))
    value = int(float(match[1]) * _UNITS[(match[2] or "").upper()]) if match else 0
    if value <= 0:
        raise ValueError(f'{size!r} is no amount of memory; write bytes or "512MB"')
    return value


def _requirements(requires: Mapping[str, str | int | Sequence[str | int]]) -> Requirements:
    pairs: list[tuple[str, str]] = []
    for name, values in requires.items():
        several = (values,) if isinstance(values, str | int) else values
        pairs += [(name, str(value)) for value in several]
    return tuple(sorted(pairs))


def _not_negative(what: str, number: int) -> int:
    if number < 0:
        raise ValueError(f"{what} cannot be negative: {number}")
    return number


def _place(function: Callable[..., object]) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}"
