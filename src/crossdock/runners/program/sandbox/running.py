"""One program in one box, from what it asks for to its verdict. Runs in the thread of its slot."""

import os
import select
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Protocol

from msgspec.structs import replace

from crossdock.runners.program.sandbox.bubblewrap import SCRATCH
from crossdock.runners.program.sandbox.cgroups import PREFIX, Cgroup, Cgroups
from crossdock.runners.program.sandbox.disk import Uncountable, Used, give, used
from crossdock.runners.program.sandbox.judging import Report, Seen, Stop, judge, parse_report
from crossdock.runners.program.sandbox.layout import CannotRun, Layout, Streams
from crossdock.runners.program.sandbox.slots import Slot
from crossdock.runners.program.sandbox.spec import Bind, Limits, Program, SandboxError, Tier, Verdict
from crossdock.runners.program.sandbox.starting import Channel, Order, Started, refuse_nul, words_of
from crossdock.runners.program.sandbox.watching import CgroupMeter, Meter, TreeMeter, Watch, scratch_inodes


class Starter(Protocol):
    """Makes the boxes of a tier."""

    def start(self, order: Order, channel: Channel, cancelled: int) -> Started:
        """Make a box that waits to be released.

        Raises:
            SandboxError: it cannot be made.
        """
        ...


class Cancelled(Exception):
    """Somebody wanted the program ended."""


class Means:
    """What boxes of one tier are made with.

    Args:
        tier: the tier.
        starter: what makes the boxes.
        cgroups: where their cgroups are made, in tier 1.
        guarantees: what they hold, in sentences.
    """

    def __init__(self, tier: Tier, starter: Starter, cgroups: Cgroups | None, guarantees: tuple[str, ...]) -> None:
        self.tier = tier
        self.starter = starter
        self.cgroups = cgroups
        self.guarantees = guarantees


def run_program(program: Program, means: Means, slot: Slot, cancelled: int) -> Verdict:
    """Run a program to its end, or until ``cancelled`` is readable.

    Raises:
        SandboxError: the box failed.
        Cancelled: it was.
    """
    refuse_nul(words_of(program))  # before any of it is a path
    try:
        with ExitStack() as stack:
            return _Run(program, means, slot, stack).until_end(cancelled)
    except CannotRun as error:
        return Verdict(status="XX", message=str(error), tier=means.tier, guarantees=means.guarantees)
    except OSError as error:
        raise SandboxError(f"the box failed: {error}") from error


class _Run:
    """One run; what it needs is cleaned up by ``stack``, in reverse order."""

    def __init__(self, program: Program, means: Means, slot: Slot, stack: ExitStack) -> None:
        self._limits = program.limits
        self._means = means
        self._slot = slot
        self._stack = stack
        if slot.uid is not None:
            give(program.directory, slot.uid)
        self._directory = stack.enter_context(slot.view(program.directory))
        present = (bind for bind in program.binds if not bind.optional or bind.source is None or bind.source.exists())
        program = replace(program, binds=tuple(self._viewed(bind) for bind in present))
        layout = Layout(program, self._directory)
        layout.check()
        self._streams = Streams(layout, program, slot.folder, slot.uid, stack)
        self._scratch = _scratch(slot, stack) if means.tier > Tier.NAMESPACES else None
        self._order = Order(
            program=program, layout=layout, streams=self._streams, tier=means.tier, uid=slot.uid, scratch=self._scratch
        )
        self._root = 0

    def _viewed(self, bind: Bind) -> Bind:
        """Return a bind whose source the user of the box can reach."""
        if bind.source is None or not bind.source.exists():
            return bind
        return replace(bind, source=self._stack.enter_context(self._slot.view(bind.source)))

    def until_end(self, cancelled: int) -> Verdict:
        channel = Channel()
        self._stack.callback(channel.close)
        started = self._means.starter.start(self._order, channel, cancelled)
        self._stack.callback(started.close)
        self._root = started.root
        cgroup = self._cgroup()  # while the box gets ready
        if started.exact and not channel.ready(cancelled):
            _stop_if(cancelled)
            started.kill()
            raise SandboxError(f"the box did not start: {channel.complaint() or 'it said nothing'}")
        _stop_if(cancelled)
        if cgroup is not None:
            cgroup.admit(started.root)
        watch = Watch(self._limits, self._meter(cgroup, started), self._disk_full, self._tasks())
        channel.release()
        stop = watch.until_end(started.ended, cancelled)
        if stop:
            started.kill()
        started.process.wait()
        if stop == "cancelled":
            raise Cancelled
        return self._verdict(stop, watch, cgroup, started)

    def _verdict(self, stop: Stop, watch: Watch, cgroup: Cgroup | None, started: Started) -> Verdict:
        if cgroup is not None:
            watch.look()
        report = parse_report(started.channel.rest()) if started.exact else _inexact(started.process.returncode)
        starved = cgroup is not None and cgroup.out_of_memory()
        if report is None and not (stop or starved):
            raise SandboxError(f"the box did not report: {started.channel.complaint() or started.process.returncode}")
        seen = Seen(
            stop=stop,
            cpu=watch.cpu,
            wall=watch.wall,
            memory=watch.memory if cgroup is None else cgroup.memory_peak(),
            out_of_memory=starved,
            disk_full=self._disk_full(),
            report=report,
        )
        verdict = judge(seen, self._limits, self._means.tier, self._means.guarantees)
        self._streams.deliver()
        return verdict

    def _cgroup(self) -> Cgroup | None:
        if self._means.cgroups is None:
            return None
        cgroup = self._means.cgroups.create(f"{PREFIX}{self._slot.name}-{self._slot.next_number()}", self._limits)
        self._stack.callback(cgroup.remove)
        return cgroup

    def _meter(self, cgroup: Cgroup | None, started: Started) -> Meter:
        return TreeMeter(started.root, self._limits.memory) if cgroup is None else CgroupMeter(cgroup)

    def _tasks(self) -> int | None:
        """Return the tasks to watch for where the kernel counts them together with others of this user."""
        if self._means.tier < Tier.LANDLOCK or self._limits.processes is None:
            return None
        return self._limits.processes + 1

    def _disk_full(self) -> bool:
        limits = self._limits
        spooled = self._streams.size()

        def over(found: Used) -> bool:
            return found.bytes + spooled > limits.disk or found.inodes > limits.inodes

        try:
            return over(used(self._directory, over)) or self._scratch_full(limits)
        except Uncountable:
            return True

    def _scratch_full(self, limits: Limits) -> bool:
        if self._scratch is None:
            return scratch_inodes(self._root, SCRATCH) > limits.inodes

        def over(found: Used) -> bool:
            return found.bytes > limits.scratch or found.inodes > limits.inodes

        return over(used(self._scratch, over))


_SCRATCH_NAME: Final = "crossdock-scratch-"


def sweep_scratch(slot: Slot) -> None:
    """Remove what an earlier process left of the slot's temporary directories."""
    for left in Path(tempfile.gettempdir()).glob(f"{_SCRATCH_NAME}{slot.name}-*"):
        shutil.rmtree(left, ignore_errors=True)


def _scratch(slot: Slot, stack: ExitStack) -> Path:
    made = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH_NAME}{slot.name}-"))
    stack.callback(shutil.rmtree, made, ignore_errors=True)
    if slot.uid is not None:
        os.chown(made, slot.uid, slot.uid)
    return made


def _inexact(code: int) -> Report:
    """Return what bubblewrap's own exit status tells."""
    return Report(status=code << 8 if code >= 0 else -code, exact=False)


def _stop_if(cancelled: int) -> None:
    ends = select.poll()
    ends.register(cancelled, select.POLLIN)
    if ends.poll(0):
        raise Cancelled
