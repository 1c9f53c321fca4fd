"""The payload of an evaluation: what those who order one, pass it on and do it agree on."""

from msgspec import Struct

from crossdock.core.jobs import ArtifactRef


class EvaluationPayload(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be evaluated.

    ``submission`` is an archive, or the URL of one; ``result_url`` takes the results archive, without it the archive
    becomes an artifact. ``job_id`` is what the job configuration has to call itself; ``meta`` is what the client said of
    the job, kept for people to read.
    """

    submission: ArtifactRef | str
    result_url: str | None = None
    job_id: str | None = None
    meta: dict[str, str] = {}
