"""`make demo`: starts a server, runs a job in over everything that needs no other server, and shows where to look.

Stays up until Ctrl-C; with --exit it ends after the tour, with status 0 only if every job gave its result.
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from servers import CROSSDOCK, Program, Server, free_port, running
from stops import STOPS, Place, evaluate

from crossdock import Client

ROOT = Path(__file__).resolve().parents[1]
PORT = 8080
PAGES_PORT = 8090
TRUSTED = "evaluation.min_tier=4"
"""The programs of the tour are ours: they run in whatever sandbox there is."""
RECODEX_PORTS = (9658, 9657, 4567)
"""Those of the clients' door, the workers' door and the monitor."""


def main() -> int:
    """Give the tour."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exit", action="store_true", help="end after the tour")
    parser.add_argument("--app", default=f"{ROOT / 'examples/mandelbrot/app.py'}:app", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help="where to keep jobs; without it a folder that is removed at the end")
    options = parser.parse_args()
    # A tour that is told to end leaves by the same door as one that is interrupted: nothing may stay behind.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    console = Console(highlight=False)
    with ExitStack() as stack:
        try:
            data = options.data or temporary_data(stack)
            server, pages, recodex = start(stack, console, options.app, data)
            client = stack.enter_context(Client(server.url))
            good = tour(Place(console, server, client, recodex, data.parent))
            where_to_look(console, server, pages, recodex)
            if not options.exit:
                good = stay(console, server) and good
        except KeyboardInterrupt:
            console.print("\nending")
            return 130
    return 0 if good else 1


def temporary_data(stack: ExitStack) -> Path:
    """Return a data directory that goes when the tour ends."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossdock-demo-", ignore_cleanup_errors=True)))
    folder.chmod(0o711)  # the users that submitted programs run as have to pass, where boxes cannot have mounts of their own
    return folder / "data"


def start(stack: ExitStack, console: Console, app: str, data: Path) -> tuple[Server, Program, str]:
    """Start the server and the program that serves the page; both end with the stack.

    Returns:
        The two, and the address of the server for clients of ReCodEx.
    """
    ports = {wanted: free_port(wanted) for wanted in (PORT, PAGES_PORT, *RECODEX_PORTS)}
    for wanted, got in ports.items():
        if wanted != got:
            console.print(f"port {wanted} is taken, using {got}")
    port, pages_port, clients, workers, monitor = ports.values()
    settings = [
        f'longpost.origins=["http://127.0.0.1:{pages_port}"]',
        f"recodex.clients=tcp://127.0.0.1:{clients}",
        f"recodex.workers=tcp://127.0.0.1:{workers}",
        f"recodex.monitor=127.0.0.1:{monitor}",
        "files.username=demo",
    ]
    if trouble := no_evaluations(data):
        console.print(f"[yellow]submitted programs are left out: {escape(trouble)}[/]")
    else:
        settings.append(TRUSTED)
    server = Server(app, data, port=port, settings=settings, cwd=data.parent)
    data.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, ROOT / "examples/mandelbrot/serve.py", "--port", str(pages_port), "--server", server.url]
    pages = Program(command, data.with_name("pages.log"))
    console.print(f"[dim]$ {shlex.join(server.command)}[/]")
    stack.enter_context(running(server))
    stack.enter_context(running(pages))
    stack.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not stop the tidying up
    console.print(f"[bold]Crossdock[/] at [link={server.url}]{server.url}[/], data in {data}\n")
    recodex = f"recodex+tcp://127.0.0.1:{clients}?files={server.url}&username=demo&monitor=ws://127.0.0.1:{monitor}"
    return server, pages, recodex


def no_evaluations(data: Path) -> str:
    """Return why this machine cannot run submitted programs, nothing if it can."""
    command = [CROSSDOCK, "doctor", "--json", "--data", data, "--listen", "127.0.0.1:0", "--set", TRUSTED]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=False).stdout
    findings = {finding["check"]: finding for finding in map(json.loads, said.splitlines())}
    found = findings.get("evaluations", {"health": "failed", "text": "crossdock doctor did not get that far"})
    return found["text"] if found["health"] == "failed" else ""


def tour(place: Place) -> bool:
    """Go to every stop; tell whether all went well."""
    table = Table("", "what was run", "seconds", title="The tour", title_justify="left")
    good = True
    evaluating = TRUSTED in place.server.command
    stops = {title: stop for title, stop in STOPS.items() if stop is not evaluate or evaluating}
    for number, (title, stop) in enumerate(stops.items(), 1):
        place.console.print(f"[bold]{number}. {title}[/]")
        begun = time.monotonic()
        seen, fine = visit(stop, place)
        place.console.print(f"   {seen}\n")
        table.add_row("[green]ok[/]" if fine else "[red]failed[/]", title, f"{time.monotonic() - begun:.1f}")
        good = good and fine
    place.console.print(table)
    return good


def visit(stop: Callable[[Place], str], place: Place) -> tuple[str, bool]:
    """Return what was seen at a stop, and whether it was as it should be."""
    try:
        return escape(stop(place)), True
    except Exception as error:  # noqa: BLE001 - whatever goes wrong at one stop, the others are still worth seeing
        return escape(f"{type(error).__name__}: {error}"), False


def where_to_look(console: Console, server: Server, pages: Program, recodex: str) -> None:
    """Show addresses and commands to go on with."""
    table = Table.grid(padding=(0, 3))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("a page that computes", pages.said(1))
    table.add_row("OpenAPI", f"{server.url}/api")
    table.add_row("jobs", f"{server.url}/jobs")
    table.add_row("metrics", f"{server.url}/metrics")
    table.add_row("on the command line", f"export CROSSDOCK_SERVER={server.url}; .venv/bin/crossdock jobs list")
    table.add_row("evaluate a program", f"crossdock evaluate DIR --server {server.url}")
    table.add_row("over ReCodEx", recodex)
    table.add_row("the server's log", str(server.log))
    table.add_row("the app", "examples/mandelbrot/app.py")
    console.print("\n[bold]Where to look[/]")
    console.print(table)


def stay(console: Console, server: Server) -> bool:
    """Wait for Ctrl-C, or for the server to end; tell whether it was Ctrl-C."""
    console.print("\nCtrl-C ends the demo.")
    try:
        while server.alive():
            time.sleep(0.5)
    except KeyboardInterrupt:
        console.print("\nending")
        return True
    console.print(f"[red]the server has ended[/]\n{escape(server.said())}")
    return False


if __name__ == "__main__":
    sys.exit(main())
