"""What boxes are made with: the first process, cgroups, slots, limits, and words for what is missing."""

import os
import resource
import subprocess
from pathlib import Path

import msgspec
import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.runners.program.sandbox import native
from crossdock.runners.program.sandbox.cgroups import NoCgroups, find_cgroups
from crossdock.runners.program.sandbox.guarantees import advice, sentences
from crossdock.runners.program.sandbox.limiting import resource_limits
from crossdock.runners.program.sandbox.machine import Machine, lacking
from crossdock.runners.program.sandbox.slots import claim_slots
from crossdock.runners.program.sandbox.spec import Limits, Tier

FULL = Machine(
    bwrap="/usr/bin/bwrap",
    init=Path("/init"),
    init_problem="",
    etc=Path("/etc"),
    etc_problem="",
    cgroups=None,
    cgroups_problem="",
    landlock=7,
    own_users=True,
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(native, "cache_folder", lambda: tmp_path)
    return tmp_path


def test_the_first_process_is_built_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        built = native.init_program()
    except native.CannotBuild as error:
        pytest.skip(str(error))
    assert subprocess.run([built], check=False).returncode == 96
    monkeypatch.setenv("PATH", "/nowhere")
    assert native.init_program() == built
    assert list(cache.iterdir()) == [built]


def test_the_first_process_is_another_when_any_of_its_source_is(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        built = native.init_program()
    except native.CannotBuild as error:
        pytest.skip(str(error))
    changed = cache.parent / "confine.h"
    changed.write_text("/* changed */")
    monkeypatch.setattr(native, "_SOURCES", (*native._SOURCES, changed))
    assert native.init_program() != built


def test_without_a_compiler_it_says_what_to_install(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cache))
    with pytest.raises(native.CannotBuild, match="apt-get install gcc"):
        native.init_program()


def test_a_first_process_that_others_could_have_written_is_built_again(cache: Path) -> None:
    try:
        built = native.init_program()
    except native.CannotBuild as error:
        pytest.skip(str(error))
    built.write_bytes(b"planted")
    built.chmod(0o777)
    assert native.init_program().read_bytes() != b"planted"


def test_a_cgroup_counts_and_goes_away() -> None:
    try:
        cgroups = find_cgroups()
    except NoCgroups as error:
        pytest.skip(str(error))
    name = f"crossdock-unit-{os.getpid()}"
    cgroup = cgroups.create(f"{name}-1", Limits())
    sleeper = subprocess.Popen(["sleep", "600"])
    try:
        cgroup.admit(sleeper.pid)
        assert cgroup.cpu() >= 0
        assert not cgroup.out_of_memory()
        assert cgroups.sweep(f"{name}-") == 1
        assert sleeper.wait(10) == -9
        assert cgroups.sweep(f"{name}-") == 0
    finally:
        sleeper.kill()


def test_slots_are_shared_with_nobody(tmp_path: Path) -> None:
    first, second = claim_slots(tmp_path, 2), claim_slots(tmp_path, 2)
    try:
        assert len({slot.name for slot in first + second}) == 4
        if os.geteuid() == 0:
            assert len({slot.uid for slot in first + second}) == 4
    finally:
        for slot in first + second:
            slot.close()
    with pytest.raises(CrossdockError) as refused:
        claim_slots(tmp_path, 1000)
    assert refused.value.code is Code.UNAVAILABLE


def test_memory_and_processes_are_limited_where_no_cgroup_does_it() -> None:
    limits = Limits(memory=2**26, processes=5, cpu=1.2, extra=0.3)
    assert not {resource.RLIMIT_DATA, resource.RLIMIT_NPROC} & resource_limits(limits, Tier.CGROUP).keys()
    found = resource_limits(limits, Tier.LANDLOCK, 10)
    assert found[resource.RLIMIT_DATA] == 2**26
    assert found[resource.RLIMIT_NPROC] == 16
    assert found[resource.RLIMIT_CPU] == 3
    assert found[resource.RLIMIT_CORE] == 0
    unlimited = resource_limits(msgspec.structs.replace(limits, stack=None, processes=None), Tier.NAMESPACES)
    assert unlimited[resource.RLIMIT_STACK] > 2**40
    assert resource.RLIMIT_NPROC not in unlimited


def test_what_is_missing_is_said_with_what_to_do() -> None:
    no_bwrap = msgspec.structs.replace(FULL, bwrap=None)
    assert "bubblewrap" in lacking(Tier.NAMESPACES, no_bwrap)
    assert "apt-get install bubblewrap" in advice(lacking(Tier.NAMESPACES, no_bwrap))
    assert lacking(Tier.LANDLOCK, no_bwrap) == ""
    no_cgroups = msgspec.structs.replace(FULL, cgroups_problem="cgroup v2: /x is not delegated to this user")
    assert "Delegate=yes" in advice(lacking(Tier.CGROUP, no_cgroups))
    old = msgspec.structs.replace(FULL, landlock=2, own_users=os.geteuid() == 0)
    assert (lacking(Tier.LANDLOCK, old) == "") == (os.geteuid() == 0)
    assert "AppArmor" in advice("bwrap: setting up uid map: Permission denied")
    assert "AppArmor" in advice("bwrap: No permissions to create new namespace")
    assert advice("something new") == ""


def test_guarantees_claim_no_more_than_there_is() -> None:
    trusted = " ".join(sentences(Tier.RLIMITS, FULL))
    assert "only for programs that are trusted" in trusted
    assert "seen nor signalled" not in trusted
    shared = " ".join(sentences(Tier.LANDLOCK, msgspec.structs.replace(FULL, own_users=False)))
    assert "may take a while" in shared
    inexact = msgspec.structs.replace(FULL, init=None, init_problem="no C compiler")
    assert "cannot be told from a signal: no C compiler" in " ".join(sentences(Tier.NAMESPACES, inexact))
