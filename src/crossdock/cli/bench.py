"""``crossdock bench``: how fast the embedded core is on this machine."""

from typing import Annotated

import typer

from crossdock.cli.options import JsonOption


def bench(
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=1_000_000, help="How many jobs to run.")] = 10_000,
    in_flight: Annotated[int, typer.Option("--in-flight", min=1, max=10_000, help="Jobs submitted at once.")] = 1000,
    data: Annotated[
        str, typer.Option("--data", metavar="DIR", help="Where to write; a directory in it is made and deleted again.")
    ] = ".",
    json: JsonOption = False,
) -> None:
    """Measure durable submit, claim and finish of empty jobs on the embedded store, without HTTP and functions."""
    import msgspec

    from crossdock.app.measuring import measure

    result = measure(jobs, in_flight, data)
    if json:
        typer.echo(msgspec.json.encode(result).decode())
    else:
        typer.echo(
            f"{result.jobs} jobs in {result.seconds:.2f} s: {result.jobs_per_second:.0f} a second, each on disk twice, "
            f"{result.cpu_microseconds_per_job:.0f} us of processor each, {result.in_flight} in flight"
        )
