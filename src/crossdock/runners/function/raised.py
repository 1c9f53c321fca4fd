"""What user code raises to say how its attempt ended."""


class Failed(Exception):
    """The job cannot be done, and trying again would not help: it fails at once.

    Args:
        message: the reason, for the people who submitted the job.
        code: a short word for programs; LONGPOST shows a number from 400 to 599 as the HTTP status.
    """

    def __init__(self, message: str, code: str | int = "failed") -> None:
        super().__init__(message)
        self.message = message
        self.code = str(code)


class Retry(Exception):
    """The attempt could not finish and should be made again, while the kind's attempts last.

    Args:
        after: seconds until the next attempt; None leaves the pause to the kind's back-off.
        message: the reason, shown if this was the last attempt.
    """

    def __init__(self, after: float | None = None, message: str = "the function asked to be run again") -> None:
        super().__init__(message)
        self.after = after
        self.message = message
