"""A whole installation in processes of its own: the server with all doors, workers of ours, a web application to notify."""

import base64
import json
import threading
from collections import Counter
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from servers import CROSSDOCK, Program, Server, free_port

USER, PASSWORD = "worker", "s3cret/&"

ADD = "#!/bin/sh\nread a b\necho $((a + b))\n"

APP = """
from crossdock import App
app = App()

@app.function("twice", requires={"hwgroup": "far"})
def twice(ctx, text: str) -> str:
    ctx.progress(1, 2, "half")
    return text * 2
"""


class WebApplication:
    """Takes what the notifier says, and refuses whoever has not the right password."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str]]] = []
        calls, lock = self.calls, threading.Lock()
        wanted = "Basic " + base64.b64encode(b"broker:reports").decode()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                right = self.headers["authorization"] == wanted
                if right:
                    fields = {name: values[0] for name, values in parse_qs(body, keep_blank_values=True).items()}
                    with lock:
                        calls.append((unquote(urlsplit(self.path).path), fields))
                self.send_response(200 if right else 401)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/reports"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def statuses(self) -> dict[str, Counter[str]]:
        """Return what was said about each job."""
        said: dict[str, Counter[str]] = {}
        for path, fields in list(self.calls):
            said.setdefault(path.rpartition("/")[2], Counter())[fields["status"]] += 1
        return said

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Site:
    """The server and what speaks to it."""

    def __init__(self, place: Path, *, app: bool = False) -> None:
        self.place = place
        self.application = WebApplication()
        self.clients, self.workers, self.monitor = free_port(), free_port(), free_port()
        self.app = place / "site_app.py"
        self.app.write_text(APP)
        (place / "crossdock.toml").write_text(f"""
[recodex]
clients = "tcp://127.0.0.1:{self.clients}"
workers = "tcp://127.0.0.1:{self.workers}"
monitor = "127.0.0.1:{self.monitor}"
no_worker = "queue"
notifier = {{ url = "{self.application.url}", username = "broker", password = "reports" }}
[files]
username = "{USER}"
password = "{PASSWORD}"
""")
        self.server = Server(f"{self.app}:app" if app else None, place / "data", cwd=place)
        self.programs: list[Program] = []

    @property
    def address(self) -> str:
        """What the client of ReCodEx connects to."""
        files = f"files={self.server.url}&username={USER}"
        return f"recodex+tcp://127.0.0.1:{self.clients}?{files}&monitor=ws://127.0.0.1:{self.monitor}"

    def worker(self, *arguments: str, group: str = "default", app: bool = False) -> Program:
        """Start a worker on the workers' door."""
        number = len(self.programs)
        folder = self.place / f"worker-{number}"
        folder.mkdir()
        managers = json.dumps(USER), json.dumps(PASSWORD)
        (folder / "crossdock.toml").write_text(
            f"""
data = "{folder}"
[[evaluation.file_managers]]
url = "{self.server.url}"
username = {managers[0]}
password = {managers[1]}
"""
            if not app
            else ""
        )
        connect = f"recodex+tcp://127.0.0.1:{self.workers}"
        command = [CROSSDOCK, "worker", *([f"{self.app}:app"] if app else []), "--connect", connect, "--hwgroup", group]
        program = Program([*command, *arguments], folder / "log", folder)
        program.start()
        self.programs.append(program)
        return program

    def close(self) -> None:
        for program in self.programs:
            program.stop()
        self.server.stop()
        self.application.close()


TESTS = {"small": ("1 2", "3"), "large": ("40000 2", "40002"), "zero": ("0 0", "0")}


def submission(
    folder: Path, files: dict[str, str], *, command: str, compile_: Sequence[str] = (), group: str = "default"
) -> Path:
    """Write a submission that is to add two numbers, and is tried with three pairs."""
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    tasks = []
    if compile_:
        compiling = task("compile", compile_[0], compile_[1:], "initiation", group, time=20, output=True, parallel=50)
        tasks.append(compiling | {"fatal-failure": True})
    for name, (given, expected) in TESTS.items():
        (folder / f"{name}.in").write_text(given + "\n")
        (folder / f"{name}.out").write_text(expected + "\n")
        run = task(f"run-{name}", command, [], "execution", group, stdin=f"{name}.in", stdout=f"{name}.got")
        judge = "${JUDGES_DIR}/recodex-token-judge"
        judging = task(f"judge-{name}", judge, [f"{name}.out", f"{name}.got"], "evaluation", group, output=True)
        tasks.append(run | {"test-id": name, "dependencies": ["compile"] if compile_ else []})
        tasks.append(judging | {"test-id": name, "dependencies": [f"run-{name}"]})
    config = {
        "submission": {
            "job-id": "student_x",
            "file-collector": "http://127.0.0.1/none",
            "log": "true",
            "hw-groups": [group],
        },
        "tasks": tasks,
    }
    (folder / "job-config.yml").write_text(json.dumps(config, indent=1))  # JSON is YAML
    return folder


def task(name, binary, arguments, kind, group, *, time=1.0, output=False, parallel=10, **streams):
    """Return a task that runs in a box."""
    limits = {"hw-group-id": group, "time": time, "wall-time": 10, "memory": 131072, "parallel": parallel}
    sandbox = {"name": "isolate", "output": output, "limits": [limits], **streams}
    return {"task-id": name, "type": kind, "cmd": {"bin": binary, "args": list(arguments)}, "sandbox": sandbox}
