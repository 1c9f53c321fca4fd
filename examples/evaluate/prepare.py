"""Puts together what a student of this course would submit: a configuration, the tests and a solution.

Usage: prepare.py LANGUAGE SOLUTION DIRECTORY, as in prepare.py c right /tmp/right
"""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
SUFFIXES = {"c": ".c", "python": ".py", "shell": ".sh"}


def prepare(language: str, solution: str, directory: Path) -> None:
    """Write a submission; the directory must not be there yet."""
    suffix = SUFFIXES[language]
    shutil.copytree(HERE / "tests", directory / "tests")
    shutil.copy(HERE / language / "job-config.yml", directory)
    shutil.copy(HERE / language / f"{solution}.{language}", directory / f"solution{suffix}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    prepare(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
