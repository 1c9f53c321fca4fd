"""How an evaluation ends when it does not end well."""

from typing import Final

OK: Final = "OK"
FAILED: Final = "FAILED"
SKIPPED: Final = "SKIPPED"


class EvaluationFailed(Exception):
    """The job's own fault, such as a configuration that makes no sense: no other worker would do better."""


class EvaluationErrored(Exception):
    """Ours, the network's or this machine's fault, or a job that is not for this worker: it is tried again elsewhere."""


class TaskFailed(Exception):
    """A task did not do what it is for, which may be what the job is about to find out.

    Args:
        message: why, for people.
        stderr: what the task says to the submitter.
    """

    def __init__(self, message: str, stderr: str = "") -> None:
        super().__init__(message)
        self.stderr = stderr
