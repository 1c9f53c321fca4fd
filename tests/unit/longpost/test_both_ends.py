"""Client and server joined by a list: no socket, but a link that loses requests and answers."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from crossdock.core.jobs import Job
from crossdock.core.lifecycle import State
from crossdock.protocols.longpost.codec import decode_request, encode_reply, encode_request
from crossdock.protocols.longpost.messages import Failure, Token
from crossdock.protocols.longpost.parts import Cutter
from crossdock.protocols.longpost.polling import Ask, Done, GoneError, Polling
from crossdock.protocols.longpost.session import (
    Admit,
    Cancel,
    Crate,
    Find,
    Keep,
    Look,
    Miss,
    Open,
    Opened,
    Pack,
    Sight,
    Take,
    Terms,
    Unload,
    serve,
)

JOB = Job(id=1, kind="k", payload=b"{}", created=0.0)


class World:
    """The server's side of things in memory; the job ends after ``polls`` looks at it."""

    def __init__(self, polls: int, result: str, chunk: int) -> None:
        self.left = polls
        self.result = result
        self.chunk = chunk
        self.tasks: set[str] = set()
        self.cargo: dict[str, Crate] = {}
        self.transcript: list[str] = []

    def answer(self, body: bytes) -> tuple[int, bytes]:
        reply = self.lead(serve(decode_request(body), Terms("", 120)))
        return (reply.status, reply.message.encode()) if isinstance(reply, Failure) else (200, encode_reply(reply))

    def lead(self, exchange):
        fact = None
        while True:
            try:
                effect = exchange.send(fact)
            except StopIteration as stop:
                return stop.value
            self.transcript.append(type(effect).__name__)
            fact = self.do(effect)

    def do(self, effect):
        match effect:
            case Open(_):
                return Opened("1", self.sight())
            case Keep(task, _):
                self.tasks.add(task)
                return task
            case Admit() | Miss():
                return None
            case Look(task):
                return self.sight() if task in self.tasks else Sight(None, 0.0)
            case Pack(_):
                return self.pack()
            case Take() | Cancel():
                known = effect.task in self.tasks
                self.tasks.discard(effect.task)
                return known
            case Find() | Unload():
                return self.unload(effect)

    def unload(self, effect):
        if isinstance(effect, Find):
            return self.cargo.get(effect.cargo)
        return self.cargo.pop(effect.cargo).document.decode()

    def sight(self) -> Sight:
        self.left -= 1
        return Sight(JOB if self.left >= 0 else replace(JOB, state=State.SUCCEEDED, finished=0.0), 0.0)

    def pack(self):
        cutter = Cutter(self.chunk)
        cutter.feed(self.result.encode())
        crates = [self.result[start:end].encode() for start, end in cutter.ranges()]
        if len(crates) == 1:
            return self.result
        names = [f"{number:032x}" for number in range(len(crates))]
        self.cargo = {name: Crate("", crate) for name, crate in zip(names, crates, strict=True)}
        return tuple(Token.of(name) for name in names)


def converse(world: World, losses) -> str | None:
    """Run a task over a link; ``losses`` says what becomes of each message. None: the result was lost on the way."""
    polling = Polling()
    step = polling.start(b"{}")
    while isinstance(step, Ask):
        fate = next(losses, "arrives") if polling.token else "arrives"
        answer = None if fate == "request lost" else world.answer(encode_request(step.request))
        again = polling.lost() if fate != "arrives" else None
        if again is not None:
            step = again
            continue
        if answer is None or fate == "answer lost":
            return None
        try:
            step = polling.receive(*answer)
        except GoneError:
            return None
    assert isinstance(step, Done)
    return step.text


def test_the_transcript_of_a_long_result():
    world = World(polls=3, result="0123456789" * 5, chunk=20)
    assert converse(world, iter(())) == world.result
    assert world.transcript == ["Open", "Keep", *["Admit", "Look"] * 3, "Pack", "Take", *["Admit", "Find", "Unload"] * 3]
    assert not world.tasks
    assert not world.cargo


@given(st.integers(0, 5), st.integers(12, 40), st.lists(st.sampled_from(["arrives", "request lost", "answer lost"])))
def test_over_a_bad_link_the_result_is_right_or_lost_and_nothing_stays(polls, chunk, losses):
    world = World(polls, "[1, 2, 3, 4, 5, 6, 7, 8, 9]", chunk)
    text = converse(world, iter(losses))
    assert text in (world.result, None)
    assert text is not None or "answer lost" in losses or "request lost" in losses
    assert not world.tasks
    assert world.transcript.count("Take") == world.transcript.count("Keep") == (polls > 0)


@given(st.integers(1, 5), st.lists(st.sampled_from(["arrives", "request lost"])))
def test_lost_polls_alone_lose_nothing(polls, losses):
    world = World(polls, "[1]", 20)
    assert converse(world, iter(losses)) == "[1]"


def test_a_client_that_gives_up_leaves_nothing_behind():
    world = World(polls=100, result="[1]", chunk=20)
    polling = Polling()
    step = polling.receive(*world.answer(encode_request(polling.start(b"{}").request)))
    assert isinstance(step, Ask)
    stop = polling.abandon()
    assert stop is not None
    assert world.answer(encode_request(stop))[0] == 200
    assert not world.tasks
