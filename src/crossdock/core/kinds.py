"""What a kind of job is: the name clients ask for, what its payload has to look like, and how its jobs are treated."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from crossdock.core.jobs import Requirements
from crossdock.core.policy import Policy


class Kind(Struct, frozen=True, kw_only=True):
    """A kind of job.

    ``runner`` names what executes it. ``inputs`` is a JSON Schema (type object) of the payload and ``outputs`` one of the
    result. ``raw`` kinds take any JSON value as payload. ``check`` is given the payload's JSON text before a job is
    accepted and raises :class:`CrossdockError` (``invalid``) if no job can be made of it. ``public`` kinds may be started
    over LONGPOST without an API key. ``memory`` limits the bytes of a child process that runs the job. ``needs`` names the
    members of the payload that are results of other kinds; clients leave them out. ``resumes`` says that the work is done
    elsewhere and the runner finds it again, so that a restart of the server is not the end of an attempt.
    """

    name: str
    runner: str = "function"
    policy: Policy = Policy()
    requirements: Requirements = ()
    title: str = ""
    description: str = ""
    inputs: Mapping[str, object] = {}
    outputs: Mapping[str, object] = {}
    raw: bool = False
    public: bool = False
    memory: int | None = None
    check: Callable[[bytes], None] | None = None
    needs: Mapping[str, str] = {}
    resumes: bool = False
