"""Paths as a program in a box sees them, and where that is in the job's directories."""

import posixpath
from collections.abc import Sequence
from typing import Final

from crossdock.runners.program.endings import EvaluationFailed
from crossdock.runners.program.sandbox.spec import Bind
from crossdock.runners.program.tree import Parts
from crossdock.runners.program.workspace import Workspace

BOX: Final = "/box"


class Inside:
    """The view from one box.

    Args:
        workspace: the job's directories.
        directory: the path of the one that is ``/box``.
        binds: what else the program sees.
        start: where the program starts, empty: ``/box``.
    """

    def __init__(self, workspace: Workspace, directory: str, binds: Sequence[Bind], start: str) -> None:
        self._workspace = workspace
        self._start = posixpath.join(BOX, start)
        places = [(BOX, directory), *((bind.target, str(bind.source)) for bind in binds if bind.source is not None)]
        self._places = sorted(places, key=lambda place: -len(place[0]))

    def locate(self, path: str) -> tuple[int, Parts] | None:
        """Return where a path of the program is in the job's directories; None if it is not there."""
        path = posixpath.normpath(posixpath.join("/", self._start, path))
        for target, source in self._places:
            if path == target or path.startswith(f"{target}/"):
                try:
                    return self._workspace.locate(source + path[len(target) :])
                except EvaluationFailed:
                    return None
        return None
