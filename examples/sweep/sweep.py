"""Usage: sweep.py [SERVER]. Runs the epidemic for 25 pairs of parameters as one array and prints how many fall ill."""

import sys
import time
from itertools import product

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from crossdock import Client

CONTAGION = (0.1, 0.2, 0.3, 0.4, 0.5)
RECOVERY = (0.05, 0.1, 0.15, 0.2, 0.25)


def main() -> None:
    """Submit, wait, print."""
    rows = [{"contagion": contagion, "recovery": recovery} for contagion, recovery in product(CONTAGION, RECOVERY)]
    with Client(*sys.argv[1:]) as client:
        job = client.submit_array("epidemic", {"table": rows}, {"people": 10_000}).job_id
        wait(client, job)
        members = client.members(job, "succeeded")
        results = client.result(job)
    print(f"array {job}: {len(members)} of {len(rows)} succeeded")
    table = Table("contagion", *(f"{recovery:.2f}" for recovery in RECOVERY), title="Share ever ill, by recovery per day")
    for number, contagion in enumerate(CONTAGION):
        shares = [result["share"] for result in results[number * len(RECOVERY) :][: len(RECOVERY)]]
        table.add_row(f"{contagion:.2f}", *(f"{share:.1%}" for share in shares))
    Console().print(table)


def wait(client: Client, job: str) -> None:
    """Show how many members have ended, until all have."""
    with Progress() as progress:
        bar = progress.add_task("epidemics", total=None)
        while not progress.finished:
            counts = client.job(job).crossdock.members
            if counts is not None:
                ended = counts.succeeded + counts.failed + counts.cancelled
                progress.update(bar, completed=ended, total=counts.total)
            time.sleep(0.1)


if __name__ == "__main__":
    main()
