"""What another monitor has to hear at the end of a job, as no worker tells it.

Workers that tell their steps end with ``FINISHED`` themselves. Nobody does so for a job that was given up, was cancelled,
or ran at a worker of another protocol; its page would wait for ever.
"""

from typing import Final

from crossdock.core.jobs import Job
from crossdock.core.lifecycle import State
from crossdock.core.ports import Intake
from crossdock.protocols.recodex.monitor.messages import Translation

_PAGE: Final = 500


async def last_words(intake: Intake, job: Job) -> list[str]:
    """Return the commands to tell of a job that has ended."""
    translation, offset = Translation(), 0
    while offset < job.events and (entries := await intake.entries(job.id, offset, _PAGE)):
        offset = entries[-1].offset + 1
        for entry in entries:
            translation.read(entry)
    if translation.finished or (job.state is State.SUCCEEDED and translation.talks):
        return []
    return translation.rest(job.state)
