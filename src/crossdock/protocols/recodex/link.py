"""A worker's connection to a broker: one DEALER socket, the timer, and the questions that wait for answers."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar, cast

import zmq

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Lease
from crossdock.protocols.recodex.extension import Answer, Grant, Question
from crossdock.protocols.recodex.keys import curve_options
from crossdock.protocols.recodex.worker_address import WorkerAddress
from crossdock.protocols.recodex.worker_questions import Settled
from crossdock.protocols.recodex.worker_session import Effect, HangUp, Standing, Transmit, WorkerSession

Expected = TypeVar("Expected")

PATIENCE: Final = 20.0
"""Seconds that a question waits for its answer beyond what it asks for itself."""
_BATCH: Final = 200
"""Messages read before other tasks get a turn."""
_LARGEST: Final = 256 * 2**20
"""The greatest frame that is taken, in bytes: leases come with their payloads."""
_LAST_WORDS: Final = 1000
"""Milliseconds that the last messages have to get out when the worker leaves."""
_RECONNECT: Final = 100
_RECONNECT_MOST: Final = 1000
"""Milliseconds between tries of the transport. A broker that comes back soon finds the same connection."""


class Dealer:
    """A socket that can be exchanged for a new one, which to the broker is another peer. It has no identity of its own.

    Args:
        address: where the broker is, and the keys.
        receive: is given what came, in order; it must not block.

    Raises:
        CrossdockError: ``invalid`` if the keys cannot be read.
    """

    def __init__(self, address: WorkerAddress, receive: Callable[[list[list[bytes]]], None]) -> None:
        self._address = address
        self._receive = receive
        self._keys = curve_options(address.server_key, address.secret_key)
        self._context = zmq.Context[zmq.Socket[bytes]]()
        self._socket: Any = None
        self._looking = False

    def open(self) -> None:
        """Connect. What is sent before there is a connection waits for it.

        Raises:
            CrossdockError: ``invalid`` if the address is none.
        """
        self._loop = asyncio.get_running_loop()
        socket = self._socket = self._context.socket(zmq.DEALER)
        # Nothing may block or be dropped here: what gathers while the broker is silent goes with the socket, soon.
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, _LARGEST)
        socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MOST)
        socket.setsockopt(zmq.IPV6, int("[" in self._address.endpoint))
        for option, key in self._keys.items():
            socket.setsockopt(option, key)
        try:
            socket.connect(self._address.endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise CrossdockError(Code.INVALID, f"{self._address.endpoint} is no address to connect to: {error}") from None
        self._loop.add_reader(cast("int", socket.getsockopt(zmq.FD)), self.drain)
        self._look_again()

    def send(self, frames: list[bytes]) -> None:
        """Send a message if there is a socket."""
        if self._socket is not None:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
            self._look_again()

    def drain(self) -> None:
        """Read what has come. The descriptor fires once for all of it, so nothing may stay behind."""
        self._looking = False
        batch: list[list[bytes]] = []
        with suppress(zmq.Again):
            while self._socket is not None and len(batch) < _BATCH:
                batch.append(self._socket.recv_multipart(zmq.NOBLOCK))
            self._look_again()
        if batch:
            self._receive(batch)

    def close(self, linger: int = 0) -> None:
        """Close the socket; what was not sent has ``linger`` milliseconds left."""
        socket, self._socket = self._socket, None
        if socket is not None:
            with suppress(zmq.ZMQError):
                self._loop.remove_reader(socket.getsockopt(zmq.FD))
            socket.close(linger)

    async def end(self) -> None:
        """Let the last words out and release everything."""
        self.close(_LAST_WORDS)
        await asyncio.to_thread(self._context.term)

    def _look_again(self) -> None:
        """Sending may swallow the signal that something has come."""
        if not self._looking and self._socket is not None:
            self._looking = True
            self._loop.call_soon(self.drain)


class Link:
    """Drives a session: its effects go to the socket, and answers to who asked.

    Args:
        address: the broker.
        session: what is said to it.
        met: is told what the broker turns out to be, whenever that is not what it was.
    """

    def __init__(self, address: WorkerAddress, session: WorkerSession, met: Callable[[Standing], None]) -> None:
        self.session = session
        self._met = met
        self._was = Standing.STRANGER
        self.endpoint = address.endpoint
        self._dealer = Dealer(address, self._receive)
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._stopped = False

    def start(self) -> None:
        """Connect and say who we are. Raises :class:`CrossdockError` if the address is none."""
        self._loop = asyncio.get_running_loop()
        self._tick()

    def introduce(self) -> None:
        """Say again who we are."""
        self.session.introduce(self._loop.time())
        self.carry_out()

    async def stop(self) -> None:
        """Close the connection, with what was said before."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self.session.questions.give_up(CrossdockError(Code.NOT_FOUND, "the worker has left"))
        for future in self._answers.values():
            future.cancel()
        await self._dealer.end()

    async def changed(self, deadline: float) -> bool:
        """Wait until the broker says something; False once the time of the event loop is ``deadline``."""
        self._changed.clear()
        try:
            async with asyncio.timeout_at(deadline):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def ask(self, question: Question, expected: type[Expected], seconds: float = 0.0) -> Expected:
        """Return the broker's answer, which may take ``seconds`` and a little more.

        Raises:
            CrossdockError: what the broker says, ``unavailable`` if it says nothing.
        """
        questions = self.session.questions
        ticket = self.session.ask(question)
        future = self._answers[ticket] = self._loop.create_future()
        try:
            self.carry_out()
            async with asyncio.timeout(seconds + PATIENCE):
                answer = await future
        except TimeoutError:
            questions.leases.extend(_leases(future))
            raise CrossdockError(Code.UNAVAILABLE, f"{self.endpoint} does not answer") from None
        except asyncio.CancelledError:
            questions.leases.extend(_leases(future))
            raise
        finally:
            questions.forget(ticket)
            del self._answers[ticket]
        if isinstance(answer, expected):
            return answer
        raise CrossdockError(Code.INTERNAL, f"the broker answers {type(question).__name__} by {type(answer).__name__}")

    def carry_out(self) -> None:
        """Do what the session wants done."""
        effects, self.session.effects = self.session.effects, []
        for effect in effects:
            self._do(effect)
        self._schedule()

    def _do(self, effect: Effect) -> None:
        if isinstance(effect, Transmit):
            self._dealer.send(effect.frames)
        elif isinstance(effect, Settled):
            self._settle(effect)
        elif isinstance(effect, HangUp):
            self._dealer.close()
        else:
            self._dealer.open()

    def _settle(self, settled: Settled) -> None:
        future = self._answers.get(settled.ticket)
        if future is None or future.done():
            self.session.questions.leases.extend(_leases_in(settled.answer))
            return
        if isinstance(settled.answer, CrossdockError):
            future.set_exception(settled.answer)
        else:
            future.set_result(settled.answer)

    def _receive(self, batch: list[list[bytes]]) -> None:
        for frames in batch:
            self.session.receive(frames, self._loop.time())
        self.carry_out()
        self._changed.set()
        if self.session.standing not in {Standing.STRANGER, self._was}:
            self._was = self.session.standing
            self._met(self._was)

    def _tick(self) -> None:
        self._timer = None
        self._dealer.drain()  # what has come already is heard before the silence is judged
        self.session.tick(self._loop.time())
        self.carry_out()

    def _schedule(self) -> None:
        if self._stopped:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self.session.pulse.due, self._tick)


def _leases(future: asyncio.Future[Answer]) -> tuple[Lease, ...]:
    """Return the leases that came just when nobody waited for them any more."""
    if not future.done() or future.cancelled() or future.exception() is not None:
        return ()
    return _leases_in(future.result())


def _leases_in(answer: Answer | CrossdockError) -> tuple[Lease, ...]:
    return answer.leases if isinstance(answer, Grant) else ()
