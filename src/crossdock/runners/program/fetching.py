"""The internal task ``fetch``: a file of the exercise, from the cache or from its server."""

from crossdock.runners.program import tree
from crossdock.runners.program.blocking import blocking
from crossdock.runners.program.cache import FileCache
from crossdock.runners.program.endings import TaskFailed
from crossdock.runners.program.transfer import Fetcher, TransferError
from crossdock.runners.program.tree import Parts
from crossdock.runners.program.workspace import Workspace


class Fetching:
    """Fetches files.

    Args:
        fetcher: gets what is not in the cache.
        cache: keeps it.
        limit: bytes of a file.
    """

    def __init__(self, fetcher: Fetcher, cache: FileCache, limit: int) -> None:
        self._fetcher = fetcher
        self._cache = cache
        self._limit = limit

    async def fetch(self, collector: str, name: str, target: str, workspace: Workspace) -> None:
        """Put the file ``name`` of a server where a job wants it, replacing what is there.

        Raises:
            TaskFailed: it cannot be had, or is not what its name promises.
            EvaluationFailed: the target is not in the job's directories.
        """
        place = self._cache.place(collector, name)
        to = workspace.locate(target)
        if not to[1]:
            raise TaskFailed(f"fetch: {target} is a directory")
        try:
            if not await blocking(self._copy, place, to):
                # The name as the cache has it: "a/" and "./a" would be kept as "a", and may be something else to the server.
                plain = "/".join(part for part in name.split("/") if part not in ("", "."))
                await self._load(f"{collector}/{plain}", place)
                if not await blocking(self._copy, place, to):
                    raise TaskFailed("fetch: the file vanished from the cache")
        except OSError as error:
            raise TaskFailed(f"fetch: {error.strerror}") from error
        except TransferError as error:
            raise TaskFailed(f"fetch: {error}") from error

    def _copy(self, place: Parts, to: tuple[int, Parts]) -> bool:
        found = self._cache.open(place)
        if found is None:
            return False
        root, parts = to
        there = tree.look(root, parts)
        if there is not None and there.directory:
            parts = (*parts, place[-1])
        with found, tree.create_file(root, parts, replace=True) as target:
            tree.copy(found, target)
        return True

    async def _load(self, url: str, place: Parts) -> None:
        """Download a file into the cache, where it appears complete or not at all."""
        provisional, file = await blocking(self._cache.begin)
        try:
            with file:
                await self._fetcher.get(url, file, self._limit)
            await blocking(self._cache.trim)
            await blocking(self._cache.keep, provisional, place)
        except BaseException:
            await blocking(self._cache.drop, provisional)
            raise
