"""What browsers are told of a job: its log in the words of a ReCodEx monitor. Pure, no input or output.

Steps of an attempt are passed on as they are: the phases, and ``TASK`` with a task's id and state. The page counts the
``TASK`` messages and waits for ``FINISHED``; it ignores every other command.

Jobs of other protocols know no tasks. Their progress becomes a command of our own, ``PROGRESS`` with the members ``done``,
``total`` and ``message``, which existing pages ignore: as ``TASK`` it would be counted, and would be a lie. Of an array
``done`` are the members that have ended, however they did. What cannot be told, such as progress that is no number, is not.

The end is told as the page expects it, also by workers that do not say it: a success ends with ``FINISHED``; a failed or
cancelled job with ``FAILED`` and then ``FINISHED``; an attempt that is lost and will be repeated with ``ABORTED``.
"""

import json
from collections.abc import Sequence
from typing import Final

import msgspec

from crossdock.core.jobs import OutcomeKind, Progress, Tally
from crossdock.core.lifecycle import Event, State
from crossdock.core.requests import Entry, Step
from crossdock.protocols.recodex.messages import ABORTED, FAILED, FINISHED

PROGRESS: Final = "PROGRESS"
_MEMBERS: Final = ("command", "task_id", "task_state")
_step: Final = msgspec.json.Decoder(Step)
_progress: Final = msgspec.json.Decoder(Progress)


class _Retrying(msgspec.Struct, frozen=True):
    outcome: str = ""


class _Tally(Tally, frozen=True, gc=False, forbid_unknown_fields=True):
    """A tally that is not taken for anything else."""


_tally: Final = msgspec.json.Decoder(_Tally)
_retrying: Final = msgspec.json.Decoder(_Retrying)


def message(*words: str) -> str:
    """Return the JSON text of a command, and of the task's id and state if they are given.

    Members are sorted and separated as Python's ``json`` does it by default, everything beyond ASCII is escaped. Further
    words are ignored.
    """
    return json.dumps(dict(zip(_MEMBERS, words, strict=False)), sort_keys=True)


def words(frames: Sequence[bytes]) -> tuple[str, ...] | None:
    """Return the frames of a progress message (without the job's id) as words; None if nobody can be told."""
    try:
        told = tuple(frame.decode() for frame in frames[: len(_MEMBERS)])
    except UnicodeDecodeError:
        return None
    return told if told and told[0] else None


def progress_message(progress: Progress) -> str:
    """Return the JSON text of the progress of a job that knows no tasks."""
    done, total = (int(number) if number == int(number) else number for number in (progress.done, progress.total))
    return json.dumps({"command": PROGRESS, "done": done, "message": progress.message, "total": total})


def _progress_of(data: bytes) -> Progress:
    """Return the progress that an entry tells: of an attempt, or of the members of an array.

    Raises:
        msgspec.DecodeError: it is neither.
    """
    try:
        return _progress.decode(data)
    except msgspec.DecodeError:
        tally = _tally.decode(data)
        return Progress(tally.finished, tally.total)


class Translation:
    """Turns a job's log, entry by entry, into messages.

    ``FINISHED`` is held back until the log has been read to its end: if an attempt said it and another one followed, it was
    not the end. ``finished`` says that it is due; ``talks`` that the attempt tells its steps, so that it may still say it.
    """

    def __init__(self) -> None:
        self.finished = False
        self._said: set[str] = set()
        self._late = False

    @property
    def talks(self) -> bool:
        """Whether the newest attempt tells its steps."""
        return bool(self._said)

    def read(self, entry: Entry) -> list[str]:
        """Return what an entry of the log tells; nothing if it cannot be understood."""
        try:
            return self._read(entry)
        except msgspec.DecodeError:
            return []

    def _read(self, entry: Entry) -> list[str]:
        if entry.event == "step":
            step = _step.decode(entry.data)
            return self._say(step.phase, *((step.task, step.state) if step.task or step.state else ()))
        if entry.event == "progress":
            return [progress_message(_progress_of(entry.data))]
        if entry.event == Event.LEASE:
            self._begin()
        elif entry.event == Event.RETRY:
            return self._again(_retrying.decode(entry.data).outcome)
        return []

    def late(self, told: tuple[str, ...]) -> list[str]:
        """Return what is passed on of progress that is not in the log. ``FINISHED`` counts only once the job has ended."""
        if told[0] == FINISHED:
            self._late = True
            return []
        self._said.add(told[0])
        return [message(*told)]

    def ended(self) -> None:
        """Take note that the job has ended: what was said late counts."""
        self.finished = self.finished or self._late

    def rest(self, state: State) -> list[str]:
        """Return the commands that are still to be told at the end."""
        fail = state in {State.FAILED, State.CANCELLED} and FAILED not in self._said
        return [FAILED] * fail + [FINISHED]

    def _say(self, *told: str) -> list[str]:
        if told[0] == FINISHED:
            self.finished = True
            return []
        self._said.add(told[0])
        return [message(*told)]

    def _begin(self) -> None:
        self.finished = self._late = False
        self._said.clear()

    def _again(self, outcome: str) -> list[str]:
        """Tell that an attempt came to nothing, unless its worker has said so, or is just about to."""
        silent = ABORTED not in self._said and not (self.talks and outcome == OutcomeKind.ERRORED)
        self._begin()
        return [message(ABORTED)] * silent
