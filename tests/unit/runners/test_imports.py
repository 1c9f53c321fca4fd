"""What is imported when: start-up time is paid by every child process and every command."""

import subprocess
import sys

import pytest

import crossdock

HEAVY = ("asyncio", "fastapi", "httpx", "obstore", "psutil", "sqlite3", "starlette", "structlog", "uvicorn")


def imported(program: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("name", crossdock.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(crossdock, name).__doc__


def test_there_are_few_of_them() -> None:
    assert len(crossdock.__all__) <= 12
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = crossdock.nothing  # pyright: ignore[reportAttributeAccessIssue]


def test_importing_the_package_imports_nothing_else() -> None:
    assert imported("import crossdock").isdisjoint({*HEAVY, "pydantic", "msgspec"})


def test_an_app_and_a_child_do_without_the_server() -> None:
    assert imported("from crossdock import App, Context, Failed, Retry").isdisjoint(HEAVY)
    assert imported("import crossdock.runners.function.child").isdisjoint(HEAVY)
