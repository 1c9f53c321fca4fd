"""Private RabbitMQ nodes: their own ports, name, data and epmd, so they disturb no other node of the machine.

They are for tests and measurements. Nodes run as the current user, root or not; plug-ins are off.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

START = 60.0
"""Seconds that a node has to come up; 4 are usual."""
COMMAND = 40.0
"""Seconds for one rabbitmqctl; 0.5 are usual."""
HIGH, LOW = "0.6", "0.0000001"
"""Watermarks of memory: one that is never reached, and one that always is."""


def scripts() -> Path | None:
    """Return the folder with RabbitMQ's own scripts, or None if it is not installed.

    Debian puts a wrapper in the path that insists on its own user; the scripts it calls stand beside the wrapper.
    """
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which("rabbitmq-server", path=places)
    return Path(found).resolve().parent if found else None


def free_port() -> int:
    """Return a free port of the loopback outside the range for outgoing connections, which nobody takes during a restart."""
    while True:
        port = random.randrange(12000, 32000)  # noqa: S311
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Node:
    """A RabbitMQ node.

    Args:
        folder: for its data, logs and configuration; its path must not have blanks.
        settings: further lines of rabbitmq.conf.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.name = f"test{os.getpid()}x{self.port}@localhost"
        self.log = folder / "log" / "node.log"
        self._scripts = _installed()
        self._epmd_port = free_port()
        self._distribution = free_port()
        self._epmd: subprocess.Popen[bytes] | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.alarmed = False
        self._settings = {
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            "vm_memory_high_watermark.relative": HIGH,
            "disk_free_limit.absolute": "1MB",
            "log.console": "false",
            **(settings or {}),
        }
        (folder / "log").mkdir(parents=True)
        (folder / "plugins").write_text("[].\n")
        (folder / "environment").write_text("")

    @property
    def url(self) -> str:
        """The address for guest."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the node and wait until it takes connections.

        Raises:
            RuntimeError: it did not; with the end of its log.
        """
        if self.running:
            return
        self.alarmed = False
        config = "".join(f"{key} = {value}\n" for key, value in self._settings.items())
        (self.folder / "rabbitmq.conf").write_text(config)
        if self._epmd is None or self._epmd.poll() is not None:
            self._epmd = self._run(["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"])
        self.process = self._run([str(self._scripts / "rabbitmq-server")])
        deadline = time.monotonic() + START
        while not _answers(self.port):
            if not self.running or time.monotonic() > deadline:
                self._end_node()
                raise RuntimeError(f"RabbitMQ did not start in {START:.0f} s:\n{_complaint(self.folder)}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Have the node end in order: connections are closed with 320 CONNECTION_FORCED, what is durable is kept."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(START)
        except subprocess.TimeoutExpired:
            self._end_node()
            raise RuntimeError(f"RabbitMQ did not stop in {START:.0f} s:\n{_complaint(self.folder)}") from None
        self.process = None

    def kill(self) -> None:
        """End the node without a word, as a loss of power would.

        RabbitMQ 3.10 writes the list of its quorum queues some seconds late. One that was declared a moment before a kill is
        empty afterwards, and never elects a leader again, so that it answers nobody. No test is about that: the list is
        written first.
        """
        if self.running:
            self.evaluate("[dets:sync(Table) || Table <- dets:all()].")
        self._end_node()

    def _end_node(self) -> None:
        if self.process is not None:
            _end(self.process)
            self.process = None

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End everything that was started."""
        self._end_node()
        if self._epmd is not None:
            _end(self._epmd)
            self._epmd = None

    def alarm(self, on: bool) -> None:
        """Raise or clear the memory alarm: RabbitMQ then blocks connections that publish."""
        self.control("set_vm_memory_high_watermark", LOW if on else HIGH)
        self.alarmed = on

    def control(self, *arguments: str) -> str:
        """Run rabbitmqctl with these arguments and return what it printed.

        Raises:
            RuntimeError: it failed, or took too long.
        """
        command = [str(self._scripts / "rabbitmqctl"), "--node", self.name, "--quiet", *arguments]
        try:
            done = subprocess.run(
                command, env=self._environment(), capture_output=True, text=True, timeout=COMMAND, check=False
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"rabbitmqctl {arguments[0]} took more than {COMMAND:.0f} s") from None
        if done.returncode != 0:
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def evaluate(self, code: str) -> str:
        """Run Erlang code on the node and return what it printed."""
        return self.control("eval", code)

    def vhost(self, name: str) -> "Vhost":
        """Return a new virtual host in which guest may do everything."""
        self.evaluate(
            f'rabbit_vhost:add(<<"{name}">>, <<"test">>), rabbit_auth_backend_internal:set_permissions('
            f'<<"guest">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>).'
        )
        return Vhost(self, name)

    def _run(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "log" / "console.log").open("ab") as log:
            return subprocess.Popen(
                command,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
            )

    def _environment(self) -> dict[str, str]:
        """Return the environment of everything here: nothing of the machine's own configuration is read."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))}
        folder = self.folder
        return kept | {
            "HOME": str(folder),  # the cookie
            "ERL_CRASH_DUMP_SECONDS": "0",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_FLAGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_CTL_DIST_PORT_MIN": "0",
            "RABBITMQ_CTL_DIST_PORT_MAX": "0",
            "RABBITMQ_CONF_ENV_FILE": str(folder / "environment"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "no-advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": str(self.log),
            "RABBITMQ_PID_FILE": str(folder / "node.pid"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
            "RUNNING_UNDER_SYSTEMD": "1",  # its script replaces itself by the node, so that our process id is the node's
            "LC_ALL": "C.UTF-8",
        }


@dataclass(frozen=True)
class Vhost:
    """A virtual host of a node."""

    rabbit: Node
    name: str

    @property
    def url(self) -> str:
        """The address for guest."""
        return self.rabbit.url + self.name

    def url_of(self, user: str, password: str) -> str:
        """Return the URL for another user."""
        return f"amqp://{user}:{password}@127.0.0.1:{self.rabbit.port}/{self.name}"

    def user(self, name: str, password: str, *, configure: str = ".*", write: str = ".*", read: str = ".*") -> str:
        """Add a user with these permissions and return its URL."""
        self.rabbit.control("add_user", name, password)
        self.rabbit.control("set_permissions", "-p", self.name, name, configure, write, read)
        return self.url_of(name, password)

    def queues(self, *columns: str) -> dict[str, list[str]]:
        """Return the queues' other columns by name, as ``rabbitmqctl list_queues`` gives them."""
        text = self.rabbit.control("list_queues", "-p", self.name, "--no-table-headers", "name", *columns)
        rows = [line.split("\t") for line in text.splitlines() if line]
        return {row[0]: row[1:] for row in rows}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and those it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def _installed() -> Path:
    found = scripts()
    if found is None:
        raise RuntimeError("rabbitmq-server is not installed: scripts/system_packages.sh")
    return found


def _answers(port: int) -> bool:
    """Return whether the node greets a client, which it does as the last step of its start."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"AMQP\x00\x00\x09\x01")
            return bool(client.recv(1))
    except OSError:
        return False


def _complaint(folder: Path) -> str:
    """Return the first errors of its log, as later ones are only the fall of the rest, or else its last lines."""
    log = folder / "log" / "node.log"
    text = log.read_text(errors="replace") if log.exists() else ""
    lines = text.splitlines() + (folder / "log" / "console.log").read_text(errors="replace").splitlines()
    errors = [line for line in lines if "[error]" in line]
    return "\n".join(errors[:20] or lines[-20:])
