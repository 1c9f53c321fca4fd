"""What surrounds a hostile program: things it must not reach, and ways to see that it did not."""

import secrets
import shutil
import socket
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

HOSTILE = Path(__file__).with_name("hostile.c")


class Scene:
    """A secret file, sockets and a process outside the boxes; everything ends with :meth:`close`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.token = f"crossdock-test-{secrets.token_hex(6)}"
        self.folder = Path(tempfile.mkdtemp(prefix="crossdock-scene-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.secret = self.folder / "secret"
        self.secret.write_text("for nobody in a box")
        self.victim = subprocess.Popen(["sleep", "600"], start_new_session=True)
        self._stack.callback(self._end_victim)
        self.port = self._listen(socket.AF_INET, ("127.0.0.1", 0)).getsockname()[1]
        self._listen(socket.AF_UNIX, f"\0{self.token}")
        self._listen(socket.AF_UNIX, f"{self.secret}.socket")
        Path(f"{self.secret}.socket").chmod(0o777)
        self.program = self.folder / "hostile"
        command = ["cc", "-O1", "-w", "-pthread", "-o", str(self.program), str(HOSTILE)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def arguments(self, act: str, program: str) -> tuple[str, ...]:
        return (program, act, str(self.victim.pid), str(self.port), self.token, str(self.secret))

    def harm(self) -> str:
        """Return what was done to the surroundings."""
        if self.victim.poll() is not None:
            return "the victim was killed"
        if self.secret.read_text() != "for nobody in a box" or self.secret.stat().st_nlink != 1:
            return "the secret was changed"
        found = [place for place in ("/tmp", "/dev/shm", "/var/tmp", "/etc", "/root", "/run") if self._marked(place)]
        return f"files appeared in {found}" if found else ""

    def processes(self) -> list[str]:
        """Return the processes that come from the hostile program and are still there."""
        found: list[str] = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and self.token.encode() in (entry / "cmdline").read_bytes():
                    found.append(f"{entry.name}: {(entry / 'status').read_text()[:200]}")
            except OSError:
                continue
        return found

    def close(self) -> None:
        self._stack.close()

    def _marked(self, place: str) -> bool:
        try:
            return any(Path(place).glob(f"{self.token}*"))
        except PermissionError:
            return False

    def _listen(self, family: socket.AddressFamily, address: object) -> socket.socket:
        listener = self._stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        listener.bind(address)
        listener.listen(64)
        return listener

    def _end_victim(self) -> None:
        self.victim.kill()
        self.victim.wait()
