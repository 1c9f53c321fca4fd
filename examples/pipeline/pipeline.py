"""Usage: pipeline.py [SERVER]. Counts the words of three texts in three jobs, merges them, and makes a report."""

import sys

from crossdock import Client

TEXTS = (
    "The cross-dock takes the goods off a truck and puts the goods on another.",
    "The truck waits, and the dock does not keep the goods.",
    "A job is a good that the dock takes in, and a worker is the truck that takes it on, and on, and on.",
)


def main() -> None:
    """Submit everything at once; the server keeps the order."""
    with Client(*sys.argv[1:]) as client:
        counts = [client.submit("count-words", {"text": text}).job_id for text in TEXTS]
        merged = client.submit("merge-counts", after=counts).job_id
        report = client.submit("report", {"top": 3}, after=[merged]).job_id
        for entry in client.watch(report):
            print(f"{entry.at} report {entry.event}")
        print("\n".join(client.result(report)))


if __name__ == "__main__":
    main()
