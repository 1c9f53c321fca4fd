"""From what was seen to the verdict."""

import signal

import pytest

from crossdock.runners.program.sandbox.judging import Report, Seen, judge, parse_report
from crossdock.runners.program.sandbox.spec import Limits, Tier, Verdict

MB = 2**20
LIMITS = Limits(cpu=1.0, wall=5.0, memory=64 * MB)


def verdict(report: Report | None, *, tier: Tier = Tier.CGROUP, **seen: object) -> Verdict:
    facts = {"stop": "", "cpu": 0.1, "wall": 0.2, "memory": MB, "out_of_memory": False, "disk_full": False, **seen}
    return judge(Seen(report=report, **facts), LIMITS, tier, ("it holds",))


def ended(*, code: int = 0, number: int = 0, **more: object) -> Report:
    return Report(status=number or code << 8, **more)


@pytest.mark.parametrize(
    ("report", "seen", "wanted"),
    [
        (ended(), {}, ("OK", 0, 0, "", False)),
        (ended(code=3), {}, ("RE", 3, 0, "", False)),
        (ended(code=139), {}, ("RE", 139, 0, "", False)),
        (ended(number=11), {}, ("SG", 0, 11, "", False)),
        (ended(cpu=1.01), {}, ("TO", 0, 0, "cpu", False)),
        (ended(), {"cpu": 1.01}, ("TO", 0, 0, "cpu", False)),
        (ended(number=9), {"stop": "cpu", "cpu": 1.3}, ("TO", 0, 9, "cpu", True)),
        (ended(number=signal.SIGXCPU), {}, ("TO", 0, signal.SIGXCPU, "cpu", False)),
        (ended(wall=5.1), {}, ("TO", 0, 0, "wall", False)),
        (None, {"stop": "wall", "wall": 5.3}, ("TO", 0, 9, "wall", True)),
        (ended(number=9), {"out_of_memory": True}, ("SG", 0, 9, "memory", True)),
        (ended(), {"out_of_memory": True}, ("SG", 0, 9, "memory", True)),
        (None, {"out_of_memory": True}, ("SG", 0, 9, "memory", True)),
        (ended(number=signal.SIGXFSZ), {}, ("SG", 0, signal.SIGXFSZ, "output", False)),
        (ended(), {"disk_full": True}, ("SG", 0, signal.SIGXFSZ, "disk", False)),
        (ended(number=9), {"stop": "disk"}, ("SG", 0, 9, "disk", True)),
        (ended(number=9), {"stop": "processes"}, ("SG", 0, 9, "processes", True)),
    ],
)
def test_a_limit_comes_before_how_it_ended(
    report: Report | None, seen: dict[str, object], wanted: tuple[object, ...]
) -> None:
    found = verdict(report, **seen)
    assert (found.status, found.exit_code, found.signal, found.exceeded, found.killed) == wanted
    assert found.guarantees == ("it holds",)


def test_failing_at_the_edge_of_memory_is_a_matter_of_memory_where_no_kernel_says_so() -> None:
    starved = ended(code=1, max_rss=60 * MB)
    assert verdict(starved, tier=Tier.NAMESPACES).exceeded == "memory"
    assert verdict(starved, tier=Tier.CGROUP).exceeded == ""
    assert verdict(ended(max_rss=60 * MB), tier=Tier.NAMESPACES).status == "OK"
    assert verdict(ended(code=1, max_rss=30 * MB), tier=Tier.NAMESPACES).exceeded == ""


def test_without_a_first_process_a_high_status_says_that_it_is_ambiguous() -> None:
    assert "cannot tell" in verdict(ended(code=139, exact=False)).message
    assert "cannot tell" not in verdict(ended(code=139)).message
    assert verdict(ended(code=1, exact=False)).message == "Exited with error status 1"


def test_a_report_is_read_without_what_came_before_the_program() -> None:
    report = parse_report(b"ready\nbefore 2000 11000\nended 0 52000 30000 4 5 1 70000\n")
    assert report == Report(0, 0.05, 30000 * 1024, 4, 5, 1, 0.07)
    small = parse_report(b"ready\nbefore 2000 11000\nended 0 52000 11000 4 5 0 70000\n")
    assert small is not None
    assert small.max_rss == 0


def test_a_program_that_cannot_start_is_its_own_fault() -> None:
    report = parse_report(b"ready\nrefused 2 exec\nended 32512 100 500 0 0 0 100\n")
    found = verdict(report)
    assert (found.status, found.exit_code) == ("RE", 127)
    assert found.message == "Cannot start the program: No such file or directory (exec)"


@pytest.mark.parametrize("text", [b"", b"ready\n", b"ready\nbefore 1 2\n"])
def test_no_last_line_is_no_report(text: bytes) -> None:
    assert parse_report(text) is None
