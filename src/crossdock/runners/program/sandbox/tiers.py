"""Which tiers this machine can give: found by running a real program in a real box of each."""

import os
import platform
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from msgspec import Struct

from crossdock.core.errors import CrossdockError
from crossdock.runners.program.sandbox.bubblewrap import Bubblewrap
from crossdock.runners.program.sandbox.cgroups import PREFIX
from crossdock.runners.program.sandbox.guarantees import advice, sentences
from crossdock.runners.program.sandbox.machine import Machine, examine, lacking
from crossdock.runners.program.sandbox.running import Means, run_program, sweep_scratch
from crossdock.runners.program.sandbox.slots import Slot, claim_slots
from crossdock.runners.program.sandbox.spec import Limits, Program, SandboxError, Tier
from crossdock.runners.program.sandbox.staged import Staged

_TRIAL: Final = Limits(cpu=10.0, wall=60.0)
_EXIT_CODE: Final = 42


class TierReport(Struct, frozen=True, kw_only=True):
    """What was found about a tier.

    Attributes:
        tier: the tier.
        works: whether a program ran in a box of it.
        reason: why it does not.
        guarantees: what its boxes hold, in sentences.
        advice: what to do to have it, or to have all of it.
    """

    tier: Tier
    works: bool
    reason: str = ""
    guarantees: tuple[str, ...] = ()
    advice: str = ""


def probe() -> list[TierReport]:
    """Try every tier and return what was found, best first. Takes about a second: not for an event loop."""
    if platform.system() != "Linux":
        return [TierReport(tier=tier, works=False, reason="boxes need Linux") for tier in Tier]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossdock-probe-")))
        try:
            slot = claim_slots(folder, 1)[0]
            stack.callback(slot.close)
            return [report for report, _ in try_tiers([slot], tuple(Tier))]
        except (CrossdockError, SandboxError) as error:
            reason = error.message if isinstance(error, CrossdockError) else str(error)
            return [TierReport(tier=tier, works=False, reason=reason) for tier in Tier]


def try_tiers(slots: list[Slot], tiers: tuple[Tier, ...]) -> list[tuple[TierReport, Means | None]]:
    """Sweep what earlier processes left of slots, and try tiers with the first of them.

    Returns:
        What was found, and the means to make boxes of those that work.

    Raises:
        SandboxError: something that was left cannot be ended.
    """
    machine = examine()
    for slot in slots:
        slot.sweep()
        sweep_scratch(slot)
        if machine.cgroups is not None:  # in any tier: a group of the same name would keep the best from working
            machine.cgroups.sweep(f"{PREFIX}{slot.name}-")
    return [_examined(tier, machine, slots[0]) for tier in tiers]


def _examined(tier: Tier, machine: Machine, slot: Slot) -> tuple[TierReport, Means | None]:
    means = None
    reason = lacking(tier, machine)
    if not reason:
        means = _means(tier, machine)
        reason = slot.thread.submit(_try, means, slot).result()
    report = TierReport(
        tier=tier,
        works=not reason,
        reason=reason,
        guarantees=sentences(tier, machine),
        advice=advice(reason) if reason else machine.init_problem if tier <= Tier.NAMESPACES else "",
    )
    return report, None if reason else means


def _means(tier: Tier, machine: Machine) -> Means:
    guarantees = sentences(tier, machine)
    if tier > Tier.NAMESPACES:
        return Means(tier, Staged(machine.landlock if tier == Tier.LANDLOCK else 0, machine.init), None, guarantees)
    starter = Bubblewrap(machine.bwrap or "bwrap", machine.init, machine.etc or Path("/etc"))
    return Means(tier, starter, machine.cgroups if tier == Tier.CGROUP else None, guarantees)


def _try(means: Means, slot: Slot) -> str:
    """Run a program in a box; return what went wrong. Runs in the thread of the slot."""
    with tempfile.TemporaryDirectory(prefix="crossdock-probe-") as folder:
        Path(folder).chmod(0o711)
        never = os.eventfd(0, os.EFD_CLOEXEC)
        program = Program(
            arguments=("/bin/sh", "-c", f"echo here > told; exit {_EXIT_CODE}"), directory=Path(folder), limits=_TRIAL
        )
        try:
            verdict = run_program(program, means, slot, never)
        except SandboxError as error:
            return str(error)
        finally:
            os.close(never)
        if verdict.exit_code != _EXIT_CODE or not (Path(folder) / "told").exists():
            return f"a trial program ended with {verdict.status} {verdict.exit_code} {verdict.message}"
    return ""
