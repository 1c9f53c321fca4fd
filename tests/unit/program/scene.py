"""What evaluations need around them: a file server, a sandbox that is none, and a runner on both."""

import asyncio
import base64
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import yaml

from crossdock.artifacts.files import file_artifacts
from crossdock.core.jobs import Outcome
from crossdock.runners.program.runner import ProgramRunner
from crossdock.runners.program.sandbox.spec import Program, Sandbox, SandboxError, Tier, Verdict
from crossdock.runners.program.settings import EvaluationSettings, FileManager
from crossdock.runners.program.transfer import HttpFetcher
from unit.program.archives import zipped
from unit.runners.recorder import Recorder, lease


class FileServer:
    """Serves what is in ``files``, keeps what is put. Below ``/secret/`` it wants credentials.

    ``/moved/X`` leads to X, ``/away`` to ``elsewhere``, ``/status/N`` answers N, ``/slow`` never ends. ``encoding`` is what
    answers say of how they are encoded.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.encoding = ""
        self.requests: list[tuple[str, str, str | None]] = []
        self.elsewhere = ""
        self.stopping = threading.Event()
        scene = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                scene.answer(self, b"")

            def do_PUT(self) -> None:
                scene.answer(self, self.rfile.read(int(self.headers["content-length"])))

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """Say nothing: clients that hang up are part of the tests."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        path = handler.path
        self.requests.append((handler.command, path, handler.headers["authorization"]))
        wanted = "Basic " + base64.b64encode(b"worker:pass").decode()
        if path.startswith("/secret/") and handler.headers["authorization"] != wanted:
            self.say(handler, 401)
        elif path.startswith("/moved/"):
            self.say(handler, 302, location=path.removeprefix("/moved"))
        elif path == "/away":
            self.say(handler, 302, location=self.elsewhere)
        elif path.startswith("/status/"):
            self.say(handler, int(path.removeprefix("/status/")))
        elif path == "/slow":
            handler.send_response(200)
            handler.end_headers()
            self.stopping.wait(60)
        elif handler.command == "PUT":
            self.files[path] = body
            self.say(handler, 201)
        else:
            self.say(handler, 200 if path in self.files else 404, self.files.get(path, b"nothing"))

    def say(self, handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", location: str = "") -> None:
        handler.send_response(status)
        if location:
            handler.send_header("location", location)
        if self.encoding:
            handler.send_header("content-encoding", self.encoding)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def count(self, method: str, path: str) -> int:
        return sum((each[0], each[1]) == (method, path) for each in self.requests)

    def close(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class PlainSandbox:
    """Runs programs as they are: nothing is held, so it is for tests of what is around a sandbox.

    Paths in ``/box`` and in bound directories are replaced by those of this machine. ``broken``: it cannot run anything.
    """

    tier = Tier.RLIMITS
    guarantees = ("none whatever",)

    def __init__(self) -> None:
        self.programs: list[Program] = []
        self.running: set[int] = set()
        self.broken = False

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def run(self, program: Program) -> Verdict:
        self.programs.append(program)
        if self.broken:
            raise SandboxError("no box today")
        places = {"/box": program.directory, **{bind.target: bind.source for bind in program.binds if bind.source}}

        def outside(text: str) -> str:
            for inside, path in places.items():
                text = text.replace(f"{inside}/", f"{path}/") if not Path(text).exists() or inside == "/box" else text
            return text

        start = Path(outside(f"{program.chdir or '/box'}/"))

        def opened(name: str | None, flags: int) -> int:
            path = os.devnull if name is None else str(start / outside(name))
            return os.open(path, flags, 0o644)

        streams = [opened(program.stdin, os.O_RDONLY)]
        writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        streams.append(opened(program.stdout, writing))
        streams.append(os.dup(streams[1]) if program.merge else opened(program.stderr, writing))
        begun = time.monotonic()
        try:
            process = await asyncio.create_subprocess_exec(
                *map(outside, program.arguments),
                cwd=start,
                env=dict(program.environment),
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                start_new_session=True,
            )
        finally:
            for stream in streams:
                os.close(stream)
        self.running.add(process.pid)
        exceeded = False
        try:
            async with asyncio.timeout(program.limits.wall):
                await process.wait()
        except TimeoutError:
            exceeded = True
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            self.running.discard(process.pid)
        return self._verdict(process.returncode or 0, exceeded, time.monotonic() - begun)

    def _verdict(self, code: int, exceeded: bool, wall: float) -> Verdict:
        figures: dict[str, Any] = {
            "tier": self.tier,
            "wall": wall,
            "cpu": 0.015,
            "memory": 3792 * 1024,
            "max_rss": 7944 * 1024,
        }
        if exceeded:
            return Verdict(status="TO", killed=True, exceeded="wall", **figures)
        if code < 0:
            return Verdict(status="SG", signal=-code, message=f"Caught fatal signal {-code}", **figures)
        return Verdict(
            status="RE" if code else "OK",
            exit_code=code,
            message=f"Exited with error status {code}" if code else "",
            **figures,
        )


class Scene:
    """A runner with all that is around it."""

    def __init__(self, folder: Path, server: FileServer, runner: ProgramRunner, sandbox: Sandbox) -> None:
        self.folder = folder
        self.server = server
        self.runner = runner
        self.sandbox = sandbox
        self.artifacts = file_artifacts(folder / "artifacts")

    def submit(self, tasks: Sequence[dict[str, Any]], files: Mapping[str, bytes] | None = None, **submission: Any) -> str:
        """Put a submission on the server; return its URL."""
        config = configuration(self.server, tasks, **submission)
        path = f"/{submission.get('job-id', 'job_1')}.zip"
        self.server.files[path] = zipped(("job-config.yml", config), *(files or {}).items())
        return self.server.url + path

    async def evaluate(self, submission: object, attempt: Recorder | None = None, **payload: Any) -> Outcome:
        """Evaluate a submission."""
        asked = lease("evaluation", {"submission": submission, "job_id": "job_1", **payload}, timeout=100.0)
        return await self.runner.run(asked, attempt or Recorder())

    async def result(self, tasks: list[dict[str, Any]], files: Mapping[str, bytes] | None = None, **submission: Any) -> Any:
        """Evaluate tasks that can be evaluated; return their results by id."""
        outcome = await self.evaluate(self.submit(tasks, files, **submission))
        assert isinstance(outcome.result, bytes), outcome
        document = msgspec.json.decode(outcome.result)
        return {each["task-id"]: each for each in document["results"].get("results", [])}

    @property
    def left(self) -> list[Path]:
        """What evaluations left behind, judges and cache aside."""
        places = [self.folder / "work" / kind for kind in ("eval", "results", "temp", "downloads")]
        return [path for place in places for path in place.glob("*/*")]


@asynccontextmanager
async def scene(folder: Path, sandbox: Sandbox, **options: Any) -> AsyncIterator[Scene]:
    """Give a started runner; everything ends with it."""
    server = FileServer()
    settings = EvaluationSettings(
        **{
            "working_directory": folder / "work",
            "cache_directory": folder / "cache",
            "group": "group1",
            "file_managers": (FileManager(f"{server.url}/secret", "worker", "pass"), FileManager(server.url)),
            **options,
        }
    )
    runner = ProgramRunner(sandbox, settings, HttpFetcher(settings.file_managers), file_artifacts(folder / "artifacts"))
    try:
        await runner.start()
        yield Scene(folder, server, runner, sandbox)
    finally:
        await runner.stop()
        server.close()


def configuration(server: FileServer, tasks: list[dict[str, Any]], **submission: Any) -> bytes:
    """Return a job configuration."""
    about = {"job-id": "job_1", "file-collector": f"{server.url}/exercises", "hw-groups": ["group1"], **submission}
    return yaml.safe_dump({"submission": about, "tasks": tasks}).encode()


def task(name: str, *command: str, **options: Any) -> dict[str, Any]:
    """Return a task; ``box`` are the members of its sandbox."""
    box = options.pop("box", None)
    extra = {key: options.pop(key) for key in list(options) if key == "success-exit-codes"}
    described: dict[str, Any] = {"task-id": name, "cmd": {"bin": command[0], "args": list(command[1:]), **extra}, **options}
    if box is not None:
        described["sandbox"] = {"name": "isolate", **box}
    return described


def steps(attempt: Recorder) -> list[str]:
    """Return the steps that were noted, as the protocol spells them."""
    found = [note.step for note in attempt.notes if note.step is not None]
    return [" ".join(part for part in (step.phase, step.task, step.state) if part) for step in found]
