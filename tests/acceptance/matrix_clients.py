"""The clients of the matrix: one for each frontend, which asks as its protocol does and answers in its words."""

import itertools
import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Literal, NamedTuple

import httpx
import msgspec
import zmq
from msgspec import Struct

from acceptance.jsonbus.php_peer import Client as PhpClient
from acceptance.matrix_site import FILES, INLINE, PATIENCE, Site, eventually
from crossdock import Client
from crossdock.core.jobs import ArtifactRef
from crossdock.protocols.longpost import Delays, LongpostClient, WorkerError
from crossdock.protocols.ogc.calls import JobFailedError

POLLING = Delays(initial=0.02)

Params = dict[str, Any]


class _Evaluated(Struct):
    status: Literal["OK"]
    archive: ArtifactRef


class Answer(NamedTuple):
    """How a job ended: the protocol's word for it, the result or what is said of the failure.

    ``indirect`` says that the result was not inside the answer, where a protocol has answers with results inside.
    """

    word: str
    value: object = None
    message: str = ""
    indirect: bool = False


class Clients:
    """Submits a job of any kind over any frontend.

    Args:
        site: the server.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self._stack = ExitStack()
        self._native = self._stack.enter_context(Client(site.server.url))
        self._php = self._stack.enter_context(PhpClient(site.vhost.url, "php_page"))
        self._http = self._stack.enter_context(httpx.Client(base_url=site.server.url, timeout=PATIENCE))
        self._numbers = itertools.count(1)

    def ask(self, door: str, kind: str, params: Params) -> Answer:
        """Submit a job and wait for its end."""
        asks: dict[str, Callable[[str, Params], Answer]] = {
            "ogc": self._ogc,
            "longpost": self._longpost,
            "recodex": self._recodex,
            "jsonbus": self._jsonbus,
        }
        return asks[door](kind, params)

    def evaluate(self, door: str, archive: bytes) -> Answer:
        """Submit an evaluation and wait for its end; the value is the archive of results."""
        path = self._put(archive)
        if door == "recodex":
            answer = self._eval([], path)
            return answer._replace(value=answer.value and self._get(str(answer.value)))
        answer = self.ask(door, "evaluation", {"submission": f"{self.site.server.url}{path}"})
        if answer.value is None:
            return answer
        result = msgspec.convert(answer.value, _Evaluated)
        return answer._replace(value=self._native.download(result.archive))

    def close(self) -> None:
        """Close the connections."""
        self._stack.close()

    def _ogc(self, kind: str, params: Params) -> Answer:
        job = self._native.submit(kind, params).job_id
        eventually(lambda: self._native.job(job).status in ("successful", "failed", "dismissed"), "the end of the job")
        status = self._native.job(job).status
        try:
            return Answer(status, self._native.result(job))
        except JobFailedError as error:
            return Answer(status, message=error.message)

    def _longpost(self, kind: str, params: Params) -> Answer:
        with LongpostClient(f"{self.site.server.url}/longpost/{kind}", delays=POLLING) as client:
            try:
                task = client.start(params)
                return Answer("200", client.result(task, PATIENCE), indirect=bool(task.polling._parts))
            except WorkerError as error:
                return Answer(str(error.status), message=error.message)

    def _recodex(self, kind: str, params: Params) -> Answer:
        answer = self._eval([f"meta.kind={kind}"], self._put(json.dumps(params).encode()))
        return answer._replace(value=answer.value and json.loads(self._get(str(answer.value))))

    def _eval(self, headers: list[str], given: str) -> Answer:
        """Submit what is at a path of the file server; the value of a success is the path of its result."""
        job = f"student_{next(self._numbers)}"
        taken = f"/attachments/{job}.result"
        urls = [f"{self.site.server.url}{path}".encode() for path in (given, taken)]
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.connect(f"tcp://127.0.0.1:{self.site.clients}")
            socket.send_multipart([b"eval", job.encode(), *(header.encode() for header in headers), b"", *urls])
            for expected in ([b"ack"], [b"accept"]):
                assert socket.poll(int(PATIENCE * 1000))
                assert socket.recv_multipart() == expected
        calls = self.site.application.calls
        told = eventually(lambda: [fields for path, fields in list(calls) if path.endswith(f"/{job}")], "the call")[0]
        if told["status"] != "OK":
            assert self._http.get(taken, auth=FILES).status_code == 404
            return Answer(told["status"], message=told["message"])
        return Answer("OK", taken)

    def _put(self, content: bytes) -> str:
        path = f"/attachments/{next(self._numbers)}"
        self._http.put(path, content=content, auth=FILES).raise_for_status()
        return path

    def _get(self, path: str) -> bytes:
        return self._http.get(path, auth=FILES).raise_for_status().content

    def _jsonbus(self, kind: str, params: Params) -> Answer:
        told = self._php.request(kind, params, timeout=PATIENCE)
        if told["status"] != "success":
            return Answer(told["status"], message=told["message"])
        data = told["data"]
        if "resultRef" not in data:
            return Answer("success", data)
        assert data["size"] > INLINE
        return Answer("success", httpx.get(data["resultRef"]).raise_for_status().json(), indirect=True)
