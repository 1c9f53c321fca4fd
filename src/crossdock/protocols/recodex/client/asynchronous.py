"""The client of a ReCodEx installation for asyncio."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import zmq
import zmq.asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.requests import Step
from crossdock.http.closing import AsyncClosing
from crossdock.protocols.recodex.client import calls
from crossdock.protocols.recodex.client.calls import Address, Answering, Following, Handle, Question
from crossdock.protocols.recodex.client.packing import Submission, read_submission
from crossdock.protocols.recodex.client.reaching import TIMEOUT, Dealer, credentials, reaching
from crossdock.protocols.recodex.client.results import read_result_archive
from crossdock.protocols.recodex.client.verdict import Verdict, judge
from crossdock.protocols.recodex.codec import encode_from_client
from crossdock.protocols.recodex.messages import Freeze, GetStats, Pair, ToClient, Unfreeze


class AsyncRecodexClient(AsyncClosing):
    """Submits evaluations and looks after them. Its methods raise :class:`~crossdock.core.errors.CrossdockError`.

    Use it as a context manager, or call :meth:`close`. Several tasks may share it. The arguments are those of
    :class:`~crossdock.protocols.recodex.client.RecodexClient`.
    """

    def __init__(self, url: str, password: str = "", timeout: float = TIMEOUT) -> None:
        self.address = calls.parse_address(url)
        self._timeout = timeout
        self._files = _Files(self.address, password, timeout)
        self._broker = Dealer(zmq.asyncio.Context(), self.address)
        # Answers say nothing of what they answer, so there is one question at a time.
        self._asking = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        await self._files.close()
        self._broker.close()

    async def submit(
        self, source: Path | str | Submission, headers: Sequence[Pair] = (), *, job_id: str | None = None
    ) -> Handle:
        """Send a directory or an archive to the file server and its job to the broker.

        See :meth:`~crossdock.protocols.recodex.client.RecodexClient.submit`.
        """
        submission = source if isinstance(source, Submission) else await asyncio.to_thread(read_submission, Path(source))
        submission = submission.with_job_id(job_id or calls.new_job_id())
        handle = calls.handle_of(self.address, submission, await self._files.upload(submission))
        await self._ask(calls.evaluation(self.address, handle, headers))
        return handle

    async def follow(self, job: Handle, timeout: float | None = None) -> AsyncIterator[Step]:
        """Yield the steps of a job as the monitor tells them, from its first, until it has ended.

        See :meth:`~crossdock.protocols.recodex.client.RecodexClient.follow`.
        """
        calls.check_monitor(self.address)
        following = Following(job.id, None if timeout is None else time.monotonic() + timeout)
        while not following.over:
            try:
                async with connect(self.address.monitor, open_timeout=self._timeout, close_timeout=1) as connection:
                    following.connected()
                    await connection.send(job.id)
                    async for step in _steps(connection, following):
                        yield step
            except (OSError, WebSocketException) as error:
                following.lost(time.monotonic(), self.address.monitor, error)
            await asyncio.sleep(following.pause(time.monotonic()))
        following.check()

    async def result(self, job: Handle, timeout: float = TIMEOUT) -> Verdict:
        """Return how the tests of a job ended; see :meth:`archive`."""
        archive = await self.archive(job, timeout)
        return judge(job.config, await asyncio.to_thread(read_result_archive, archive))

    async def archive(self, job: Handle, timeout: float = TIMEOUT) -> bytes:
        """Return the archive of a job's results.

        See :meth:`~crossdock.protocols.recodex.client.RecodexClient.archive`.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                return await self._files.download(job.result)
            except CrossdockError as error:
                if error.code is not Code.NOT_FOUND or time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(min(calls.RECONNECT, max(0.0, deadline - time.monotonic())))

    async def stats(self) -> dict[str, int]:
        """Return the broker's counters by name."""
        return calls.counters(await self._ask(GetStats()))

    async def freeze(self) -> None:
        """Have the broker reject new jobs; those it has go on."""
        await self._ask(Freeze())

    async def unfreeze(self) -> None:
        """Have the broker accept jobs again."""
        await self._ask(Unfreeze())

    async def _ask(self, question: Question) -> ToClient:
        answering = Answering(question)
        async with self._asking:
            try:
                async with asyncio.timeout(self._timeout):
                    return await self._answer(question, answering)
            except TimeoutError:
                self._broker.drop()
                raise answering.silence(self.address.broker, self._timeout) from None
            except BaseException:
                self._broker.drop()  # an answer that comes late would be taken for that to the next question
                raise

    async def _answer(self, question: Question, answering: Answering) -> ToClient:
        socket = self._broker.socket()
        await socket.send_multipart(encode_from_client(question))  # pyright: ignore[reportUnknownMemberType]
        while True:
            answer = answering.receive(await socket.recv_multipart())
            if answer is not None:
                return answer


class _Files:
    """The file server."""

    def __init__(self, address: Address, password: str, timeout: float) -> None:
        self._url = address.files
        self._http = httpx.AsyncClient(auth=credentials(address, password), timeout=timeout)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def upload(self, submission: Submission) -> bytes:
        """Store the files of a submission; return the answer."""
        url = self._url + calls.submission_path(submission.config.job_id)
        with reaching(self._url):
            response = await self._http.post(url, files=calls.parts_of(submission))
        calls.refuse(url, response.status_code, response.content)
        return response.content

    async def download(self, url: str) -> bytes:
        """Return what is at a URL."""
        content = bytearray()
        with reaching(self._url):
            async with self._http.stream("GET", url, headers={"accept-encoding": "identity"}) as response:
                async for chunk in response.aiter_raw():
                    calls.grown(content, chunk, url)
        calls.refuse(url, response.status_code, bytes(content))
        calls.plain(url, response.headers.get("content-encoding", ""))
        return bytes(content)


async def _steps(connection: ClientConnection, following: Following) -> AsyncIterator[Step]:
    while not following.over:
        try:
            async with asyncio.timeout(following.wait(time.monotonic())):
                told = await connection.recv()
        except ConnectionClosed:
            return
        except TimeoutError:
            following.silent(time.monotonic())
            continue
        if (step := following.receive(told)) is not None:
            yield step
