"""What both clients say and understand, as values: addresses, answers, the monitor's messages. No input or output."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit
from uuid import uuid4

import msgspec
from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.requests import Step
from crossdock.http.problems import read_problem
from crossdock.protocols.recodex.client.config import JobConfig
from crossdock.protocols.recodex.client.packing import Submission
from crossdock.protocols.recodex.client.results import ARCHIVE_BYTES
from crossdock.protocols.recodex.codec import decode_to_client
from crossdock.protocols.recodex.messages import (
    CLIENT_PORT,
    FAILED,
    FINISHED,
    Accept,
    Ack,
    Eval,
    Freeze,
    GetStats,
    Pair,
    Reject,
    Stats,
    ToClient,
    Unfreeze,
)

SCHEME: Final = "recodex+tcp"
LAST_WORDS: Final = 5.0
"""Seconds after ``FAILED`` in which a worker still says ``FINISHED``; the original broker says ``FAILED`` alone."""
RECONNECT: Final = 1.0
"""Seconds between two tries to reach the monitor, or the results."""
AWAY: Final = 60.0
"""Seconds for which the monitor may be away."""

LARGEST_ANSWER: Final = 2**20
"""The greatest frame that is taken from a broker, in bytes."""

_EXAMPLE: Final = f"{SCHEME}://HOST:{CLIENT_PORT}?files=http://HOST:PORT&monitor=ws://HOST:PORT"
_KNOWN: Final = frozenset({"files", "monitor", "username", "separator", "server_key", "secret_key"})
_NO: Final = frozenset({"no", "false", "0"})
_UNITS: Final = "PROGRESS"
"""A monitor of ours says it beside the steps, and repeats only the last."""
_MOST_SEEN: Final = 100_000

Question = Eval | GetStats | Freeze | Unfreeze


class Address(Struct, frozen=True, kw_only=True):
    """A ReCodEx installation.

    ``broker`` is a ZeroMQ address, ``files`` the base URL of the file server, ``monitor`` that of the WebSocket or empty
    for none. ``separated`` is False for brokers of the oldest dialect. ``server_key`` and ``secret_key`` are files
    with the broker's public and our secret CURVE key, empty for no encryption.
    """

    broker: str
    files: str
    monitor: str = ""
    username: str = ""
    separated: bool = True
    server_key: str = ""
    secret_key: str = ""


class Handle(Struct, frozen=True, kw_only=True):
    """A job that was accepted. ``archive`` and ``result`` are the URLs of its submission and of its results."""

    id: str
    archive: str
    result: str
    config: JobConfig


class Stored(Struct, frozen=True):
    """What the file server answers to a submission."""

    archive_path: str
    result_path: str


class _Told(Struct, frozen=True):
    command: str
    task_id: str = ""
    task_state: str = ""


def parse_address(url: str) -> Address:
    """Return what ``recodex+tcp://HOST:PORT?files=URL&monitor=URL`` names.

    More parameters: ``username`` for the file server, ``separator=no`` for brokers of the oldest dialect, and ``server_key``
    and ``secret_key`` for CURVE.

    Raises:
        CrossdockError: ``invalid``.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or CLIENT_PORT
        given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)) if parts.query else {}
    except ValueError:
        raise CrossdockError(Code.INVALID, f"{url!r} is no address like {_EXAMPLE}") from None
    if parts.scheme != SCHEME or not host or parts.path not in ("", "/") or parts.username is not None:
        raise CrossdockError(Code.INVALID, f"{url!r} is no address like {_EXAMPLE}")
    if unknown := sorted(given.keys() - _KNOWN):
        raise CrossdockError(Code.INVALID, f"{url!r}: {unknown[0]!r} is not known; there are {', '.join(sorted(_KNOWN))}")
    if bool(given.get("server_key")) != bool(given.get("secret_key")):
        raise CrossdockError(Code.INVALID, f"{url!r}: server_key and secret_key are needed together")
    return Address(
        broker=f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}",
        files=_checked(url, given.get("files", ""), ("http", "https")).rstrip("/"),
        monitor=_checked(url, given["monitor"], ("ws", "wss")) if given.get("monitor") else "",
        username=given.get("username", ""),
        separated=given.get("separator", "").lower() not in _NO,
        server_key=given.get("server_key", ""),
        secret_key=given.get("secret_key", ""),
    )


def check_monitor(address: Address) -> None:
    """Raise ``invalid`` if there is no monitor."""
    if not address.monitor:
        raise CrossdockError(Code.INVALID, "the address of the installation names no monitor")


def new_job_id() -> str:
    """Return an id as the web application makes them."""
    return f"student_{uuid4()}"


def requirements(config: JobConfig, headers: Sequence[Pair]) -> tuple[Pair, ...]:
    """Return the headers of an ``eval``: those given, and the hardware groups of the configuration if none are."""
    groups = "|".join(config.groups)
    if not groups or any(name == "hwgroup" for name, _ in headers):
        return tuple(headers)
    return (("hwgroup", groups), *headers)


def evaluation(address: Address, job: Handle, headers: Sequence[Pair]) -> Eval:
    """Return the message that submits a job whose files are stored."""
    wanted = requirements(job.config, headers)
    return Eval(job.id, job.archive, job.result, wanted, separated=address.separated)


def submission_path(job: str) -> str:
    """Return the path that a submission is posted to. Raises ``invalid``."""
    if not job or "/" in job or not job.isprintable():
        raise CrossdockError(Code.INVALID, f"{job[:80]!r} is no id for a job")
    return f"/submissions/{quote(job, safe='')}"


def parts_of(submission: Submission) -> list[tuple[str, tuple[str, bytes]]]:
    """Return the fields of a multipart form: the older file server takes a file's name from that of its field."""
    return [(name, (name.rpartition("/")[2], content)) for name, content in submission.files.items()]


def handle_of(address: Address, submission: Submission, answer: bytes) -> Handle:
    """Return the job that a stored submission is going to be.

    Raises:
        CrossdockError: ``internal`` if the file server's answer cannot be understood.
    """
    try:
        stored = msgspec.json.decode(answer, type=Stored)
    except msgspec.DecodeError as error:
        raise CrossdockError(Code.INTERNAL, f"the answer of the file server cannot be understood: {error}") from None
    if not (stored.archive_path.startswith("/") and stored.result_path.startswith("/")):
        raise CrossdockError(Code.INTERNAL, "the file server names no paths of its own")
    archive, result = address.files + stored.archive_path, address.files + stored.result_path
    return Handle(id=submission.config.job_id, archive=archive, result=result, config=submission.config)


def refuse(url: str, status: int, body: bytes) -> None:
    """Raise what an answer of the file server says that is no success."""
    if status >= 400:  # noqa: PLR2004 - HTTP
        error = read_problem(status, body)
        raise CrossdockError(error.code, f"{url}: {error.message}")
    if status >= 300:  # noqa: PLR2004 - HTTP
        raise CrossdockError(Code.INTERNAL, f"{url}: the server leads elsewhere ({status}), which is not followed")


def unreachable(url: str, error: Exception) -> CrossdockError:
    """Return the error for a server that does not answer."""
    return CrossdockError(Code.UNAVAILABLE, f"{url} cannot be reached: {error or type(error).__name__}")


class Answering:
    """Waits for the answer to one question among what the broker sends."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._acknowledged = False

    def receive(self, frames: Sequence[bytes]) -> ToClient | None:
        """Take a message; return it if it is the answer.

        Raises:
            CrossdockError: ``conflict`` if the broker rejects the job.
        """
        answer = decode_to_client(frames)
        if isinstance(answer, Reject) and isinstance(self._question, Eval):
            raise CrossdockError(
                Code.CONFLICT, f"the broker rejects the job: {answer.text.strip() or 'it does not say why'}"
            )
        self._acknowledged = self._acknowledged or isinstance(answer, Ack)
        wanted = Accept if isinstance(self._question, Eval) else Stats if isinstance(self._question, GetStats) else Ack
        return answer if isinstance(answer, wanted) else None

    def silence(self, broker: str, seconds: float) -> CrossdockError:
        """Return the error for a broker that has not answered."""
        if self._acknowledged:
            text = f"{broker} has read the job but said neither accept nor reject in {seconds:g} s; it may run nevertheless"
        else:
            text = f"{broker} did not answer within {seconds:g} s; is the broker running there?"
        return CrossdockError(Code.UNAVAILABLE, text)


class Following:
    """Puts together what the monitor tells of a job, also over broken connections: a new one begins from the beginning.

    Times are seconds of a clock that only the caller reads.

    Args:
        job: the job's id.
        deadline: when to give up, None for never.
    """

    def __init__(self, job: str, deadline: float | None = None) -> None:
        self._job = job
        self._deadline = deadline
        self._seen: list[str] = []
        self._again = 0
        self._away_since: float | None = None
        self._failed = False
        self._late = False
        self.over = False

    def connected(self) -> None:
        """Take note of a new connection: the monitor repeats what it has told."""
        self._again = 0
        self._away_since = None

    def wait(self, now: float) -> float | None:
        """Return the seconds to wait for the next message, None for as long as it takes."""
        waits = [LAST_WORDS] * self._failed + ([] if self._deadline is None else [max(0.0, self._deadline - now)])
        return min(waits, default=None)

    def silent(self, now: float) -> None:
        """Take note that nothing came for so long."""
        self._late = self._deadline is not None and now >= self._deadline
        self.over = self._late or self._failed

    def lost(self, now: float, url: str, error: Exception) -> None:
        """Take note that the monitor cannot be reached.

        Raises:
            CrossdockError: ``unavailable`` if that has been so for too long.
        """
        self._away_since = now if self._away_since is None else self._away_since
        if now - self._away_since > AWAY:
            raise unreachable(url, error) from error

    def pause(self, now: float) -> float:
        """Return the seconds until the next try to reach the monitor, 0 once it is over."""
        if not self.over:
            self.over = self._late = self._deadline is not None and now >= self._deadline
        return 0.0 if self.over else RECONNECT

    def check(self) -> None:
        """Raise :class:`TimeoutError` if it was given up."""
        if self._late:
            raise TimeoutError(f"job {self._job} has not ended in time; it goes on")

    def receive(self, text: str | bytes) -> Step | None:
        """Take a message; return the step that it tells, None if it was told before.

        Raises:
            CrossdockError: ``internal`` if it cannot be understood.
        """
        shown = text if isinstance(text, str) else text.decode(errors="backslashreplace")
        try:
            told = msgspec.json.decode(shown, type=_Told)
        except msgspec.DecodeError as error:
            raise CrossdockError(Code.INTERNAL, f"the monitor says what cannot be understood: {error}") from None
        if told.command == _UNITS:
            return None
        if self._again < len(self._seen) and self._seen[self._again] == shown:
            self._again += 1
            return None
        # What a monitor that was restarted tells is new, although it begins again.
        self._seen[self._again :] = [shown]
        self._again = len(self._seen)
        if self._again > _MOST_SEEN:
            raise CrossdockError(Code.INTERNAL, f"the monitor tells more than {_MOST_SEEN} steps of {self._job}")
        self._failed = told.command == FAILED
        self.over = told.command == FINISHED
        return Step(told.command, told.task_id, told.task_state)


def counters(answer: ToClient) -> dict[str, int]:
    """Return the broker's counters by name. Raises ``internal`` if they are no numbers."""
    try:
        return {name: int(value) for name, value in answer.values} if isinstance(answer, Stats) else {}
    except ValueError:
        raise CrossdockError(Code.INTERNAL, "the broker's counters are no numbers") from None


def grown(content: bytearray, chunk: bytes, url: str) -> None:
    """Add a chunk of what is downloaded. Raises ``too_large``."""
    if len(content) + len(chunk) > ARCHIVE_BYTES:
        raise CrossdockError(Code.TOO_LARGE, f"{url} has more than {ARCHIVE_BYTES} bytes")
    content += chunk


def plain(url: str, encoding: str) -> None:
    """Check the Content-Encoding of a download, which was counted as it came. Raises ``internal`` if it is compressed."""
    if encoding.lower() not in {"", "identity"}:
        raise CrossdockError(Code.INTERNAL, f"{url}: the server compresses ({encoding[:40]!r}), which was not asked for")


def _checked(url: str, found: str, schemes: Sequence[str]) -> str:
    try:
        parts = urlsplit(found)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:
        usable = False
    if not usable:
        text = f"{url!r} needs a URL of {' or '.join(schemes)}, without a password, like {_EXAMPLE}"
        raise CrossdockError(Code.INVALID, text)
    return found
