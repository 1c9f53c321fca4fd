"""Hostile acts performed in boxes."""

import asyncio
import os
from itertools import count
from pathlib import Path

import msgspec

from acceptance.sandbox.acts import LIMITS, Act
from acceptance.sandbox.scene import Scene
from crossdock.runners.program.sandbox.boxes import Boxes
from crossdock.runners.program.sandbox.spec import Program, Verdict

AFTER = {"shmcheck": "shmleak", "keycheck": "keyleak"}
"""Acts that look for what others have left."""
CANARY = "CROSSDOCK_TEST_SECRET"


class Play:
    """The acts on one tier."""

    def __init__(self, boxes: Boxes, scene: Scene, folder: Path, *, no_locks: bool = False) -> None:
        self._boxes = boxes
        self._scene = scene
        self._folder = folder
        self._no_locks = no_locks
        self.verdicts: list[Verdict] = []
        self._numbers = count(1)

    async def all(self, acts: dict[str, Act]) -> dict[str, str]:
        """Perform acts, several at once; return what is wrong by act."""
        names = [name for name in acts if name not in AFTER]
        wrong = dict(zip(names, await asyncio.gather(*(self.perform(name, acts[name]) for name in names)), strict=True))
        for name in AFTER.keys() & acts.keys():
            wrong[name] = await self.perform(name, acts[name])
        return {name: text for name, text in wrong.items() if text}

    async def perform(self, name: str, act: Act) -> str:
        """Perform one act and return what is wrong."""
        folder = self.prepared(name)
        verdict = await self.run(name, act, folder)
        said = (folder / "out").read_bytes()[:100_000].decode(errors="replace")
        return act.judge(verdict, said) or self._beyond(name, folder, said)

    async def run(self, name: str, act: Act, folder: Path) -> Verdict:
        limits = msgspec.structs.replace(LIMITS, wall=act.wall, cpu=act.cpu)
        program = Program(
            arguments=self._scene.arguments(name, "/box/hostile"),
            directory=folder,
            stdout="out",
            environment={"GIVEN": "yes"},
            no_locks=self._no_locks,
            limits=limits,
        )
        async with asyncio.timeout(100):
            verdict = await self._boxes.run(program)
        self.verdicts.append(verdict)
        return verdict

    async def lock_channel(self, act: Act) -> str:
        """Have one box hold a lock while another looks for it; return what is wrong."""
        holder = self.prepared("lockhold")
        holding = asyncio.create_task(self.run("lockhold", act, holder))
        async with asyncio.timeout(30):
            while not (holder / "holding").exists():  # noqa: ASYNC110 - a file does not notify
                await asyncio.sleep(0.005)
        wrong = await self.perform("lockchan", act)
        (holder / "done").touch()
        await holding
        return wrong

    def prepared(self, name: str) -> Path:
        folder = self._folder / f"{name}-{next(self._numbers)}"
        folder.mkdir(parents=True)
        (folder / "hostile").write_bytes(self._scene.program.read_bytes())
        (folder / "hostile").chmod(0o755)
        return folder

    def _beyond(self, name: str, folder: Path, said: str) -> str:
        """Return what an act reached that only shows from outside."""
        if name == "env" and os.environ.get(CANARY, CANARY) in said:
            return "saw the worker's environment"
        if name == "links" and ((folder / "out").is_symlink() or not (folder / "collected").is_symlink()):
            return "output followed a link"
        if name == "flood" and (folder / "out").stat().st_size > LIMITS.file_size:
            return "more output than allowed"
        return ""


def slot_names(boxes: Boxes) -> list[str]:
    """Return the names that everything of these boxes carries; other tests may have boxes of their own meanwhile."""
    return [slot.name for slot in boxes._slots]
