"""The blocking client of a ReCodEx installation: broker, file server and monitor, ours or the original ones."""

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import zmq
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.requests import Step
from crossdock.http.closing import Closing
from crossdock.protocols.recodex.client import calls
from crossdock.protocols.recodex.client.calls import Address, Answering, Following, Handle, Question
from crossdock.protocols.recodex.client.packing import Submission, read_submission
from crossdock.protocols.recodex.client.reaching import TIMEOUT, Dealer, credentials, reaching
from crossdock.protocols.recodex.client.results import read_result_archive
from crossdock.protocols.recodex.client.verdict import Verdict, judge
from crossdock.protocols.recodex.codec import encode_from_client
from crossdock.protocols.recodex.messages import Freeze, GetStats, Pair, ToClient, Unfreeze


class RecodexClient(Closing):
    """Submits evaluations and looks after them. Its methods raise :class:`~crossdock.core.errors.CrossdockError`.

    Use it as a context manager, or call :meth:`close`. It is for one thread.

    Args:
        url: ``recodex+tcp://HOST:PORT?files=http://HOST:PORT&monitor=ws://HOST:PORT``, see
            :func:`~crossdock.protocols.recodex.client.calls.parse_address`.
        password: that of the file server.
        timeout: seconds to wait for an answer of the broker or the file server.
    """

    def __init__(self, url: str, password: str = "", timeout: float = TIMEOUT) -> None:
        self.address = calls.parse_address(url)
        self._timeout = timeout
        self._files = _Files(self.address, password, timeout)
        self._broker = Dealer(zmq.Context[zmq.Socket[bytes]](), self.address)

    def close(self) -> None:
        """Close the connections."""
        self._files.close()
        self._broker.close()

    def submit(self, source: Path | str | Submission, headers: Sequence[Pair] = (), *, job_id: str | None = None) -> Handle:
        """Send a directory or an archive to the file server and its job to the broker.

        Args:
            source: with a ``job-config.yml`` at the root, in which ``job-id`` is replaced by the job's.
            headers: what the worker has to offer; without ``hwgroup`` among them, that of the configuration is asked for.
            job_id: the job's id; a new one if it is not given.

        Raises:
            CrossdockError: ``invalid`` or ``too_large`` for what cannot be submitted, ``conflict`` if the broker rejects it,
                ``unavailable`` if somebody does not answer, and what the file server says.
        """
        submission = source if isinstance(source, Submission) else read_submission(Path(source))
        submission = submission.with_job_id(job_id or calls.new_job_id())
        handle = calls.handle_of(self.address, submission, self._files.upload(submission))
        self._ask(calls.evaluation(self.address, handle, headers))
        return handle

    def follow(self, job: Handle, timeout: float | None = None) -> Iterator[Step]:
        """Yield the steps of a job as the monitor tells them, from its first, until it has ended.

        The last step is ``FINISHED``, or ``FAILED`` if the broker gave the job up. A broken connection is taken up again.

        Raises:
            TimeoutError: it took longer than ``timeout`` seconds.
            CrossdockError: ``invalid`` without a monitor, ``unavailable`` if it is away for more than a minute.
        """
        calls.check_monitor(self.address)
        following = Following(job.id, None if timeout is None else time.monotonic() + timeout)
        while not following.over:
            try:
                with connect(self.address.monitor, open_timeout=self._timeout, close_timeout=1) as connection:
                    following.connected()
                    connection.send(job.id)
                    yield from _steps(connection, following)
            except (OSError, WebSocketException) as error:
                following.lost(time.monotonic(), self.address.monitor, error)
            time.sleep(following.pause(time.monotonic()))
        following.check()

    def result(self, job: Handle, timeout: float = TIMEOUT) -> Verdict:
        """Return how the tests of a job ended; see :meth:`archive`."""
        return judge(job.config, read_result_archive(self.archive(job, timeout)))

    def archive(self, job: Handle, timeout: float = TIMEOUT) -> bytes:
        """Return the archive of a job's results.

        Raises:
            CrossdockError: ``not_found`` if it is still not there after ``timeout`` seconds, ``too_large``, or what the file
                server says.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self._files.download(job.result)
            except CrossdockError as error:
                if error.code is not Code.NOT_FOUND or time.monotonic() >= deadline:
                    raise
            time.sleep(min(calls.RECONNECT, max(0.0, deadline - time.monotonic())))

    def stats(self) -> dict[str, int]:
        """Return the broker's counters by name."""
        return calls.counters(self._ask(GetStats()))

    def freeze(self) -> None:
        """Have the broker reject new jobs; those it has go on."""
        self._ask(Freeze())

    def unfreeze(self) -> None:
        """Have the broker accept jobs again."""
        self._ask(Unfreeze())

    def _ask(self, question: Question) -> ToClient:
        try:
            return self._answer(question)
        except BaseException:
            self._broker.drop()  # an answer that comes late would be taken for that to the next question
            raise

    def _answer(self, question: Question) -> ToClient:
        answering = Answering(question)
        socket = self._broker.socket()
        socket.send_multipart(encode_from_client(question))
        deadline = time.monotonic() + self._timeout
        while (left := deadline - time.monotonic()) > 0 and socket.poll(math.ceil(left * 1000)):
            if (answer := answering.receive(socket.recv_multipart())) is not None:
                return answer
        raise answering.silence(self.address.broker, self._timeout)


class _Files:
    """The file server."""

    def __init__(self, address: Address, password: str, timeout: float) -> None:
        self._url = address.files
        self._http = httpx.Client(auth=credentials(address, password), timeout=timeout)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def upload(self, submission: Submission) -> bytes:
        """Store the files of a submission; return the answer."""
        url = self._url + calls.submission_path(submission.config.job_id)
        with reaching(self._url):
            response = self._http.post(url, files=calls.parts_of(submission))
        calls.refuse(url, response.status_code, response.content)
        return response.content

    def download(self, url: str) -> bytes:
        """Return what is at a URL."""
        content = bytearray()
        with reaching(self._url), self._http.stream("GET", url, headers={"accept-encoding": "identity"}) as response:
            for chunk in response.iter_raw():
                calls.grown(content, chunk, url)
        calls.refuse(url, response.status_code, bytes(content))
        calls.plain(url, response.headers.get("content-encoding", ""))
        return bytes(content)


def _steps(connection: ClientConnection, following: Following) -> Iterator[Step]:
    while not following.over:
        try:
            told = connection.recv(following.wait(time.monotonic()))
        except ConnectionClosed:
            return
        except TimeoutError:
            following.silent(time.monotonic())
            continue
        if (step := following.receive(told)) is not None:
            yield step
