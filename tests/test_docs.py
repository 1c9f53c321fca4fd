"""The documentation, run: every Python block and every console command of README.md and docs/, page by page.

A page is a folder of its own. A block that begins with ``# NAME`` (app.py, crossdock.toml) is written there as a file;
`$ crossdock serve` starts a server in it, and without that the README's app is served once a command needs it. Addresses
like http://127.0.0.1:8080 stand for that server. Expected output may leave things out with "…".
"""

import os
import re
import subprocess
import unittest
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import CROSSDOCK, Server
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, SkipParser

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "ARCHITECTURE.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
ADDRESS = "http://127.0.0.1:8080"
FILE = re.compile(r"# ([\w.-]+\.(?:py|toml|json))\n")
LINK = re.compile(r"\]\(([^)\s]+)\)")
END = "__end_of_command__"


class Shell:
    """A shell that lives as long as its page, so that variables do."""

    def __init__(self, folder: Path) -> None:
        path = f"{CROSSDOCK.parent}:{os.environ['PATH']}"
        self.errors = folder / "stderr.txt"
        self.process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=os.environ | {"PATH": path, "NO_COLOR": "1", "COLUMNS": "120", "TERM": "dumb"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors.open("wb"),
            text=True,
        )

    def run(self, command: str) -> tuple[str, int]:
        """Run one command; return what it printed, and its status."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{{ {command}\n}} </dev/null\necho; echo {END} $?\n")
        self.process.stdin.flush()
        lines: list[str] = []
        for line in self.process.stdout:
            if line.startswith(END):
                return "".join(lines).rstrip(), int(line.split()[1])
            lines.append(line)
        raise AssertionError(f"the shell ended in {command!r}: {''.join(lines)}")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


class Page:
    """What the blocks of one page share: a folder, a shell, and a server once it is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shell = Shell(folder)
        self.server: Server | None = None

    def serve(self, app: str = "app.py:app") -> Server:
        """Return the server of this page, started if it is not there yet."""
        if self.server is None:
            if not (self.folder / "app.py").exists():
                (self.folder / "app.py").write_text(readme_app())
            self.server = Server(app, self.folder / "data", cwd=self.folder)
            self.server.start()
            self.shell.run(f"export CROSSDOCK_SERVER={self.server.url}")
        return self.server

    def here(self, text: str) -> str:
        """Return ``text`` with the address of this page's server."""
        return text.replace(ADDRESS, self.serve().url) if ADDRESS in text else text

    def write(self, name: str, text: str) -> None:
        """Write a file; a server that runs is started again once it is needed, with that file."""
        (self.folder / name).write_text(text)
        if self.server is not None:
            self.server.stop()
            self.server = None

    def close(self) -> None:
        self.shell.close()
        if self.server is not None:
            self.server.stop()


def readme_app() -> str:
    """Return the app of the README's first screen."""
    return next(
        text for text in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL) if "app.py" in text
    )


def evaluate_python(example: Example) -> None:
    """Write a block that names its file, run any other."""
    page: Page = example.namespace["page"]
    if not wrote_file(example):
        source = "\n" * example.line + page.here(example.parsed)
        exec(compile(source, example.path, "exec"), example.namespace)


def evaluate_toml(example: Example) -> None:
    """Write a block that names its file."""
    wrote_file(example)


def wrote_file(example: Example) -> bool:
    """Write a block that begins with the name of a file; tell whether it does."""
    page: Page = example.namespace["page"]
    named = FILE.match(example.parsed)
    if named:
        page.write(named[1], example.parsed)
    return named is not None


def evaluate_console(example: Example) -> str | None:
    """Run the commands of a block and compare what they print with what the page says; return what is different."""
    page: Page = example.namespace["page"]
    for command, expected in commands(example.parsed):
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command
        elif served := re.match(r"crossdock serve(?: (\S+\.py:\w+))?", command):
            page.serve(served[1] or "app.py:app")
        else:
            page.serve()
            printed, status = page.shell.run(page.here(command))
            if status != 0 or not matches(page.here(expected), printed):
                said = page.shell.errors.read_text() + (page.server.said(10) if page.server else "")
                return f"$ {command}\n--- page\n{expected}\n--- status {status}\n{printed}\n--- stderr, server\n{said}"
    return None


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a console block with the output the page shows for each."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        count = 1
        while lines[count - 1].endswith("\\"):
            count += 1
        command = "\n".join(lines[:count])
        yield re.sub(r"\s+# .*", "", command), "\n".join(lines[count:]).strip()


def matches(expected: str, printed: str) -> bool:
    """Compare output, with … for anything. A page that shows none says nothing about it."""
    pattern = ".*".join(re.escape(part) for part in expected.split("…"))
    return not expected or re.fullmatch(pattern, printed, re.DOTALL) is not None


pages = Sybil(
    parsers=[
        SkipParser(),
        CodeBlockParser("python", evaluate_python),
        CodeBlockParser("toml", evaluate_toml),
        CodeBlockParser("console", evaluate_console),
    ],
    path=str(ROOT),
    patterns=["*.md"],
)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_shows_works(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = pages.parse(path)
    monkeypatch.chdir(tmp_path)
    page = Page(tmp_path)
    document.namespace["page"] = page
    try:
        for example in document.examples():
            try:
                example.evaluate()
            except unittest.SkipTest:
                continue
    finally:
        page.close()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for link in LINK.findall(prose):
        if link.startswith(("http:", "https:")):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_map_is_short() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 150


def test_readme_begins_with_what_a_newcomer_types() -> None:
    screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:50])
    assert all(word in screen for word in ("make demo", "make test", "crossdock serve", "crossdock submit", "@app.function"))


def test_the_app_on_the_first_screen_is_short() -> None:
    assert 5 <= sum(bool(line.strip()) for line in readme_app().splitlines()) <= 14
