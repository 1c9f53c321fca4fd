"""What honest programs get: their directories, streams, environment, network if they may, and tools that work."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from acceptance.sandbox.conftest import Open
from crossdock.runners.program.sandbox.boxes import Boxes
from crossdock.runners.program.sandbox.cgroups import PREFIX, NoCgroups, find_cgroups
from crossdock.runners.program.sandbox.slots import claim_slots
from crossdock.runners.program.sandbox.spec import Bind, Limits, Program, SandboxError, Tier, Verdict
from crossdock.runners.program.sandbox.tiers import try_tiers

TIERS = [Tier.CGROUP, Tier.NAMESPACES, Tier.LANDLOCK]
MOUNTING = TIERS[:2]
PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/box"}
AMPLE = Limits(cpu=60.0, wall=300.0, memory=2**30, processes=64, disk=2**28)


async def run(boxes: Boxes, folder: Path, *arguments: str, **asked: Any) -> tuple[Verdict, str, str]:
    """Run a program; return the verdict and what it wrote."""
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - nothing else goes on
    asked = {"limits": AMPLE, "environment": PATH, **asked}
    program = Program(arguments=arguments, directory=folder, stdout="/box/out", stderr="/box/err", **asked)
    verdict = await boxes.run(program)
    return verdict, (folder / "out").read_text(), (folder / "err").read_text()


@pytest.mark.parametrize("tier", [*TIERS, Tier.RLIMITS])
async def test_a_program_reads_writes_and_ends(tier: Tier, open_boxes: Open, tmp_path: Path) -> None:
    boxes = await open_boxes(tier)
    folder = tmp_path / "job"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/in").write_text("hello")
    script = 'cat; echo "$GIVEN $1" >&2; echo made > made; cat /box/sub/made; exit 3'
    arguments = ("/bin/sh", "-c", script, "sh", "/box/sub")
    verdict, out, err = await run(
        boxes, folder, *arguments, stdin="in", chdir="/box/sub", environment={**PATH, "GIVEN": "this"}
    )
    assert (verdict.status, verdict.exit_code, verdict.tier) == ("RE", 3, tier)
    assert verdict.guarantees == boxes.guarantees
    where = "/box/sub"
    if tier > Tier.NAMESPACES:  # the script's own text is not translated, its argument is
        assert "made" in err
        where = err.split()[1]
        assert where.endswith("/sub")
    assert out == ("hello" if tier > Tier.NAMESPACES else "hellomade\n")
    assert err.startswith(f"this {where}")
    assert (folder / "sub/made").read_text() == "made\n"


@pytest.mark.parametrize("tier", [*TIERS, Tier.RLIMITS])
async def test_a_stack_may_be_without_limit(tier: Tier, open_boxes: Open, tmp_path: Path) -> None:
    boxes = await open_boxes(tier)
    limits = msgspec.structs.replace(AMPLE, stack=None)
    verdict, out, _ = await run(boxes, tmp_path / "job", "/bin/sh", "-c", "ulimit -s", limits=limits)
    assert (verdict.status, out) == ("OK", "unlimited\n")


@pytest.mark.parametrize("tier", TIERS)
async def test_the_next_program_gets_what_the_last_one_left(tier: Tier, open_boxes: Open, tmp_path: Path) -> None:
    boxes = await open_boxes(tier, slots=2)
    script = "umask 077; echo one >> data; mkdir -p d; echo x > d/x; cat data"
    for turn in range(3):
        verdict, out, _ = await run(boxes, tmp_path / "job", "/bin/sh", "-c", script)
        assert (verdict.status, out) == ("OK", "one\n" * (turn + 1))


@pytest.mark.parametrize("tier", MOUNTING)
async def test_bound_directories_have_their_modes(tier: Tier, open_boxes: Open, tmp_path: Path) -> None:
    boxes = await open_boxes(tier)
    (tmp_path / "private").mkdir(mode=0o700)
    readable, writable = tmp_path / "private/readable", tmp_path / "private/writable"
    for place in (readable, writable):
        place.mkdir()
        place.chmod(0o777)
        (place / "data").write_text(place.name)
    binds = (
        Bind(target="/data", source=readable),
        Bind(target="out/put", source=writable, writable=True),
        Bind(target="/file", source=readable / "data"),
        Bind(target="/memory"),
        Bind(target="/missing", source=tmp_path / "no", optional=True),
    )
    script = "cat /data/data /file; ls /missing; echo new > /out/put/new; echo no > /data/no; echo memory > /memory/x"
    script += "; cat /memory/x"
    verdict, out, err = await run(boxes, tmp_path / "job", "/bin/sh", "-c", script, binds=binds)
    assert verdict.status == "OK"
    assert out == "readablereadablememory\n"
    assert "Read-only" in err
    assert (writable / "new").read_text() == "new\n"
    assert not (readable / "no").exists()


@pytest.mark.parametrize("tier", TIERS)
async def test_the_network_is_there_only_if_asked_for(tier: Tier, open_boxes: Open, tmp_path: Path) -> None:
    boxes = await open_boxes(tier)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ask = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        for network in (False, True):
            verdict, _, err = await run(boxes, tmp_path / "job", "/usr/bin/python3", "-c", ask, network=network)
            assert (verdict.status == "OK") == network, err


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(
    "asked",
    [{"stdin": "missing"}, {"chdir": "/box/missing"}, {"binds": (Bind(target="/x", source=Path("/missing")),)}],
    ids=lambda asked: next(iter(asked)),
)
async def test_what_cannot_be_done_is_said(tier: Tier, asked: dict[str, Any], open_boxes: Open, tmp_path: Path) -> None:
    boxes = await open_boxes(tier)
    verdict = await boxes.run(Program(arguments=("/bin/true",), directory=tmp_path, **asked))
    assert verdict.status == "XX"
    assert "missing" in verdict.message


@pytest.mark.parametrize("tier", [*TIERS, Tier.RLIMITS])
@pytest.mark.parametrize(
    "asked",
    [
        {"environment": {**PATH, "A": "x\0--bind\0/\0/box/host"}},
        {"environment": {**PATH, "A\0B": "x"}},
        {"arguments": ("/bin/echo", "a\0b")},
        {"binds": (Bind(target="/x\0--share-net", source=Path("/usr/share")),)},
        {"binds": (Bind(target="/x", source=Path("/usr\0/share")),)},
        {"chdir": "/box\0/x"},
        {"directory": Path("/tmp\0")},
    ],
    ids=["value", "name", "argument", "target", "source", "chdir", "directory"],
)
async def test_a_nul_begins_no_other_word(tier: Tier, asked: dict[str, Any], open_boxes: Open, tmp_path: Path) -> None:
    boxes = await open_boxes(tier)
    program = Program(**{"arguments": ("/bin/true",), "directory": tmp_path, **asked})
    with pytest.raises(SandboxError, match="has a NUL"):
        await boxes.run(program)


@pytest.mark.parametrize("tier", MOUNTING)
async def test_without_a_compiler_boxes_work_and_say_what_they_cannot_tell(
    tier: Tier, open_boxes: Open, tmp_path: Path
) -> None:
    boxes = await open_boxes(tier, compiler=False)
    assert any("no C compiler" in sentence for sentence in boxes.guarantees)
    verdict, out, _ = await run(boxes, tmp_path / "job", "/bin/sh", "-c", "echo out; exit 139")
    assert (verdict.exit_code, out) == (139, "out\n")
    assert "cannot tell" in verdict.message
    quick = Limits(cpu=0.3, wall=0.6, extra=0.1)
    verdict, _, _ = await run(boxes, tmp_path / "job", "/bin/sh", "-c", "sleep 50 & sleep 50", limits=quick)
    assert (verdict.status, verdict.exceeded) == ("TO", "wall")
    verdict, _, _ = await run(boxes, tmp_path / "job", "/bin/sh", "-c", "while :; do :; done", limits=quick)
    assert verdict.status == "TO"


@pytest.mark.parametrize("tier", [*TIERS, Tier.RLIMITS])
def test_a_group_that_a_killed_worker_left_is_swept_in_any_tier(tier: Tier, tmp_path: Path) -> None:
    try:
        cgroups = find_cgroups()
    except NoCgroups as error:
        pytest.skip(f"no cgroups: {error}")
    slot = claim_slots(tmp_path, 1)[0]
    prefix = f"{PREFIX}{slot.name}-"
    left = cgroups.create(f"{prefix}1", Limits())
    with subprocess.Popen(["/bin/sleep", "600"]) as running:
        try:
            left.admit(running.pid)
            ((report, _),) = try_tiers([slot], (tier,))
            assert cgroups.sweep(prefix) == 0
            assert running.wait(30) == -9
            assert "File exists" not in report.reason
        finally:
            running.kill()
            cgroups.sweep(prefix)
            slot.close()


COMPILE = 'printf "#include <stdio.h>\\nint main(void) { puts(\\"built\\"); }" > a.c && cc -O1 a.c -o a.out && ./a.out'
PARALLEL = "import multiprocessing as m; print(sum(m.Pool(2).map(abs, range(10))), 'built' if True else '')"
THREADS = "import threading; t = [threading.Thread(target=print) for _ in range(5)]; [x.start() for x in t]; print('built')"
TOOLS = {
    "cc": ("/bin/sh", "-c", COMPILE),
    "bash": ("bash", "-c", "x=$(echo built); cat <<< $x | sort"),
    "perl": ("perl", "-e", 'print "built"'),
    "node": ("node", "-e", "console.log('built')"),
    "java": ("java", "-Xmx128m", "-version"),
    "python": ("/usr/bin/python3", "-c", THREADS),
    "multiprocessing": ("/usr/bin/python3", "-c", PARALLEL),
}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("no_locks", [False, True])
async def test_tools_work(tier: Tier, no_locks: bool, open_boxes: Open, tmp_path: Path) -> None:
    boxes = await open_boxes(tier)
    broken: dict[str, str] = {}
    for name, arguments in TOOLS.items():
        if shutil.which(arguments[0]) is None or (name == "cc" and shutil.which("cc") is None):
            continue
        verdict, out, err = await run(boxes, tmp_path / name, *arguments, no_locks=no_locks)
        if verdict.status != "OK" or ("built" not in out and name != "java"):
            broken[name] = f"{verdict.message} {out[-200:]} {err[-300:]}"
    if tier == Tier.LANDLOCK:
        assert broken.pop("multiprocessing"), "without /dev/shm there are no semaphores"
        if os.geteuid():
            assert "Permission denied" in broken.pop("cc"), "modes cannot be changed where others' files could be meant"
    assert broken == {}


async def test_the_loop_is_never_held_up(open_boxes: Open, tmp_path: Path) -> None:
    """A worker has other things to do while programs run, hostile or not."""
    import asyncio
    import time

    boxes = await open_boxes(Tier.NAMESPACES, slots=2)
    late: list[float] = []

    async def tick() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            late.append(time.monotonic() - before - 0.01)

    ticking = asyncio.create_task(tick())
    runs = [run(boxes, tmp_path / str(number), sys.executable, "-c", "pass") for number in range(10)]
    await asyncio.gather(*runs)
    ticking.cancel()
    assert sorted(late)[len(late) // 2] < 0.05
