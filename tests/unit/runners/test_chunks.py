"""Members of an array: in turn, each with its own end, and none pays for another."""

import asyncio

import msgspec
import pytest

from brokers import turns
from crossdock.core.errors import CrossdockError
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import MemberOutcome, Outcome, OutcomeKind
from crossdock.runners.function import FunctionRunner
from crossdock.runners.function.members import merged
from unit.runners.recorder import Recorder, chunk, gone


def ends(attempt: Recorder) -> list[tuple[int, OutcomeKind, str]]:
    return [(member.index, member.outcome.kind, member.outcome.code) for member in attempt.members]


@pytest.mark.parametrize("kind", ["member", "async_member"])
async def test_every_member_is_told_of_with_its_own_id(runner: FunctionRunner, attempt: Recorder, kind: str) -> None:
    lease = chunk(kind, 300)
    outcome = await runner.run(lease, attempt)
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert attempt.members == [
        MemberOutcome(
            index=index,
            outcome=Outcome(kind=OutcomeKind.SUCCEEDED, result=f'"{encode_id(lease.job)}.{index}"'.encode()),
        )
        for index in range(10, 310)
    ]


async def test_an_exception_is_one_members_own(runner: FunctionRunner, attempt: Recorder) -> None:
    await runner.run(chunk("member", 3, {"bad": 11}), attempt)
    assert ends(attempt) == [
        (10, OutcomeKind.SUCCEEDED, ""),
        (11, OutcomeKind.ERRORED, "ValueError"),
        (12, OutcomeKind.SUCCEEDED, ""),
    ]


async def test_a_member_that_takes_its_child_along_costs_only_itself(runner: FunctionRunner, attempt: Recorder) -> None:
    outcome = await runner.run(chunk("member", 200, {"bad": 110, "how": "segfault"}), attempt)
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert len(attempt.members) == 200
    assert [end for end in ends(attempt) if end[2]] == [(110, OutcomeKind.ERRORED, "worker_died")]


class Distracted(Recorder):
    """Takes the first outcome when the child that sends them is long gone."""

    def __init__(self, runner: FunctionRunner) -> None:
        super().__init__()
        self._runner = runner

    async def member(self, outcome: MemberOutcome) -> None:
        if not self.members:
            before = set(self._runner.processes())
            async with asyncio.timeout(30):
                while before <= set(self._runner.processes()):
                    await turns()
        await super().member(outcome)


async def test_what_a_child_said_before_it_died_is_heard_however_late(runner: FunctionRunner) -> None:
    attempt = Distracted(runner)
    await runner.run(chunk("member", 200, {"bad": 209, "how": "segfault"}), attempt)
    assert [end for end in ends(attempt) if end[2]] == [(209, OutcomeKind.ERRORED, "worker_died")]


async def test_the_timeout_is_each_members(runner: FunctionRunner, attempt: Recorder) -> None:
    await runner.run(chunk("member", 5, {"bad": 12, "how": "sleep"}, timeout=0.5), attempt)
    assert [end[2] for end in ends(attempt)] == ["", "", "timeout", "", ""]


async def test_members_that_are_slow_together_are_not_too_slow(runner: FunctionRunner, attempt: Recorder) -> None:
    await runner.run(chunk("member", 4, {"how": "slow"}, timeout=1), attempt)
    assert [end[2] for end in ends(attempt)] == ["", "", "", ""]


async def test_cancelling_stops_the_chunk(runner: FunctionRunner, attempt: Recorder) -> None:
    running = asyncio.create_task(runner.run(chunk("member", 1000, {"bad": 12, "how": "cancel"}, grace=20), attempt))
    await attempt.until(lambda: attempt.logs)
    attempt.cancel()
    assert (await running).kind is OutcomeKind.CANCELLED
    assert [end[2] for end in ends(attempt)] == ["", "", "cancelled"]


async def test_killing_a_chunk_in_its_grace_period(runner: FunctionRunner, attempt: Recorder) -> None:
    running = asyncio.create_task(runner.run(chunk("member", 1000, {"bad": 10, "how": "sleep"}, grace=0.1), attempt))
    await attempt.until(lambda: attempt.logs)
    pids = runner.processes()
    attempt.cancel()
    assert (await running).kind is OutcomeKind.CANCELLED
    await gone(*pids)


@pytest.mark.parametrize("kind", ["member", "async_member"])
async def test_a_template_that_is_no_object_fails_all_at_once(runner: FunctionRunner, attempt: Recorder, kind: str) -> None:
    outcome = await runner.run(chunk(kind, 3, [1]), attempt)
    assert (outcome.kind, outcome.code, attempt.members) == (OutcomeKind.FAILED, "invalid", [])


@pytest.mark.parametrize(
    ("template", "own", "expected"),
    [
        ('{"a": 1}', {"b": 2}, {"a": 1, "b": 2}),
        ('{"a": [1, {"x": 1e400}]}', {"a": None}, {"a": None}),
        ("{}", {"index": 7}, {"index": 7}),
    ],
)
def test_own_parameters_win_over_the_template(template: str, own: dict[str, object], expected: object) -> None:
    assert [msgspec.json.decode(text) for text in merged(template.encode(), [own])] == [expected]


@pytest.mark.parametrize("template", [b"[1]", b"3", b"", b"{", b'{"a": NaN}', b"\xff"])
def test_other_templates_are_refused_at_once(template: bytes) -> None:
    with pytest.raises(CrossdockError, match="JSON object"):
        merged(template, [])


def test_merging_keeps_numbers_as_they_were_written() -> None:
    big = b'{"n":12345678901234567890123,"x":0.1000}'
    assert list(merged(big, [{"i": 1}])) == [big[:-1] + b',"i":1}']
