"""ReCodEx between frames and messages: pure functions for both ends of both doors, safe on any input.

``decode(encode(message))`` is the message again. Decoding never raises: what cannot be understood comes out as
:class:`Unknown` or :class:`Malformed`, and the session says what follows.
"""

from collections.abc import Callable, Sequence
from typing import Final

from crossdock.protocols.recodex.messages import (
    EXTENSION,
    META,
    Accept,
    Ack,
    Done,
    Eval,
    Evaluate,
    Extended,
    Freeze,
    FromClient,
    FromWorker,
    GetStats,
    Init,
    Intro,
    Malformed,
    Pair,
    Ping,
    Pong,
    Progress,
    Reject,
    Stats,
    ToClient,
    ToWorker,
    Unfreeze,
    Unknown,
)

_EXTENSION: Final = EXTENSION.encode()
_URLS: Final = 2
_LEAST: Final = {b"eval": 2, b"init": 2, b"progress": 3}
"""How many frames these need at least, the command word included."""
_DONE: Final = {3, 4}
_EXTENDED: Final = 3
_TICKET_DIGITS: Final = 18
_WORDS: Final[dict[type, bytes]] = {
    GetStats: b"get-runtime-stats",
    Freeze: b"freeze",
    Unfreeze: b"unfreeze",
    Ack: b"ack",
    Accept: b"accept",
    Ping: b"ping",
    Intro: b"intro",
    Pong: b"pong",
}


# The clients' door


def encode_from_client(message: Eval | GetStats | Freeze | Unfreeze) -> list[bytes]:
    """Return the frames of what a client says."""
    if not isinstance(message, Eval):
        return [_WORDS[type(message)]]
    frames = [b"eval", message.job.encode()]
    frames += [f"{META}{name}={value}".encode() for name, value in message.meta]
    frames += [f"{name}={value}".encode() for name, value in message.headers]
    if message.separated:
        frames.append(b"")
    return [*frames, message.archive.encode(), message.result.encode()]


def decode_from_client(frames: Sequence[bytes]) -> FromClient:
    """Return what a client says. Frames after those that a command needs are ignored."""
    command = frames[0] if frames else b""
    if command == b"eval":
        return _decode_eval(frames)
    return _FROM_CLIENT.get(command) or Unknown(command)


def _decode_eval(frames: Sequence[bytes]) -> Eval | Malformed:
    if len(frames) < _LEAST[b"eval"]:
        return Malformed("eval", "the job id is missing")
    try:
        job, *rest = [str(frame, "utf-8") for frame in frames[1:]]
    except UnicodeDecodeError:
        return Malformed("eval", "a frame is not UTF-8 text", b"" in frames[2:])
    separated = "" in rest
    end = rest.index("") if separated else len(rest) - _URLS
    urls = rest[end + separated :] if end >= 0 else []
    if not job:
        return Malformed("eval", "the job id is empty", separated)
    if len(urls) != _URLS:
        # Too short for the oldest dialect also means that its rule about acknowledgements need not hold.
        reason = "after the job id, the headers and an empty frame there must be two: archive URL and result URL"
        return Malformed("eval", reason, separated or end < 0)
    headers: list[Pair] = []
    meta: dict[str, str] = {}
    for text in rest[:end]:
        name, value = _pair(text)
        if name.startswith(META):
            meta.setdefault(name.removeprefix(META), value)
        else:
            headers.append((name, value))
    return Eval(job, urls[0], urls[1], tuple(headers), tuple(meta.items()), separated)


def encode_to_client(message: ToClient) -> list[bytes]:
    """Return the frames of what a broker answers to a client."""
    if isinstance(message, Reject):
        return [b"reject", message.text.encode()] if message.text else [b"reject"]
    if isinstance(message, Stats):
        return [text.encode() for pair in message.values for text in pair]
    return [_WORDS[type(message)]]


def decode_to_client(frames: Sequence[bytes]) -> ToClient | Unknown:
    """Return what a broker answers. An even number of frames that begins with no known command is counters."""
    command = frames[0] if frames else b""
    if command == b"ack":
        return Ack()
    if command == b"accept":
        return Accept()
    if command == b"reject":
        return Reject(_readable(frames[1]) if len(frames) > 1 else "")
    if command and len(frames) % 2 == 0:
        texts = [_readable(frame) for frame in frames]
        return Stats(tuple(zip(texts[::2], texts[1::2], strict=True)))
    return Unknown(command)


# The workers' door


def encode_from_worker(message: Init | Ping | Progress | Done | Extended) -> list[bytes]:
    """Return the frames of what a worker says."""
    if isinstance(message, Progress):
        return [b"progress", *message.frames]
    if isinstance(message, Done):
        return [b"done", message.job.encode(), message.status.encode(), message.message.encode()]
    if isinstance(message, Init):
        return _encode_init(message)
    if isinstance(message, Extended):
        return _encode_extended(message)
    return [_WORDS[type(message)]]


def _encode_init(message: Init) -> list[bytes]:
    frames = [b"init", message.group.encode(), *(f"{name}={value}".encode() for name, value in message.headers)]
    if message.information is not None:
        frames += [b"", *(f"{name}={value}".encode() for name, value in message.information)]
    return frames


def decode_from_worker(frames: Sequence[bytes]) -> FromWorker:
    """Return what a worker says."""
    command = frames[0] if frames else b""
    decode = _FROM_WORKER.get(command)
    return Unknown(command) if decode is None else decode(frames)


def _decode_init(frames: Sequence[bytes]) -> Init | Malformed:
    if len(frames) < _LEAST[b"init"] or not frames[1]:
        return Malformed("init", "the hardware group is missing")
    group, *rest = [_readable(frame) for frame in frames[1:]]
    if "" not in rest:
        return Init(group, tuple(map(_pair, rest)))
    end = rest.index("")
    return Init(group, tuple(map(_pair, rest[:end])), tuple(map(_pair, rest[end + 1 :])))


def _decode_done(frames: Sequence[bytes]) -> Done | Malformed:
    if len(frames) not in _DONE:
        return Malformed("done", "it needs the job id, a status and perhaps a message")
    return Done(*map(_readable, frames[1:]))


def _decode_progress(frames: Sequence[bytes]) -> Progress | Malformed:
    if len(frames) < _LEAST[b"progress"]:
        return Malformed("progress", "it needs the job id and a state")
    return Progress(tuple(frames[1:]))


def encode_to_worker(message: ToWorker) -> list[bytes]:
    """Return the frames of what a broker says to a worker."""
    if isinstance(message, Evaluate):
        return [b"eval", message.job.encode(), message.archive.encode(), message.result.encode()]
    if isinstance(message, Extended):
        return _encode_extended(message)
    return [_WORDS[type(message)]]


def decode_to_worker(frames: Sequence[bytes]) -> ToWorker | Unknown | Malformed:
    """Return what a broker says. An ``eval`` has exactly four frames."""
    command = frames[0] if frames else b""
    if command == b"eval":
        if len(frames) != 2 + _URLS:
            return Malformed("eval", "it needs the job id, the archive URL and the result URL")
        try:
            return Evaluate(*(str(frame, "utf-8") for frame in frames[1:]))
        except UnicodeDecodeError:
            return Malformed("eval", "a frame is not UTF-8 text")
    if command == _EXTENSION:
        return _decode_extended(frames)
    return _TO_WORKER.get(command) or Unknown(command)


# Both ends


def _encode_extended(message: Extended) -> list[bytes]:
    return [_EXTENSION, b"%d" % message.ticket, message.body]


def _decode_extended(frames: Sequence[bytes]) -> Extended | Malformed:
    if len(frames) != _EXTENDED or not frames[1].isdigit() or len(frames[1]) > _TICKET_DIGITS:
        return Malformed(EXTENSION, "it needs a ticket and a body")
    return Extended(int(frames[1]), frames[2])


def _decode_ping(_: Sequence[bytes]) -> Ping:
    return Ping()


def _pair(text: str) -> Pair:
    """Split a header at its first ``=``. One without has its text as name and as value, as in the original broker."""
    name, separator, value = text.partition("=")
    return (name, value) if separator else (text, text)


def _readable(frame: bytes) -> str:
    """Return text to compare or to show: bytes that are not UTF-8 are spelt out."""
    return frame.decode(errors="backslashreplace")


_FROM_CLIENT: Final[dict[bytes, FromClient]] = {
    b"get-runtime-stats": GetStats(),
    b"freeze": Freeze(),
    b"unfreeze": Unfreeze(),
}
_TO_WORKER: Final[dict[bytes, ToWorker]] = {b"intro": Intro(), b"pong": Pong()}
_FROM_WORKER: Final[dict[bytes, Callable[[Sequence[bytes]], FromWorker]]] = {
    b"init": _decode_init,
    b"done": _decode_done,
    b"progress": _decode_progress,
    b"ping": _decode_ping,
    _EXTENSION: _decode_extended,
}
