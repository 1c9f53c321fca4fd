"""In which order tasks run."""

from collections.abc import Callable, Iterator, Sequence

from crossdock.runners.program.endings import EvaluationFailed
from crossdock.runners.program.jobconfig import Task


def ordered(tasks: Sequence[Task]) -> list[Task]:
    """Return tasks by priority (high first), then as they stand in the file, but each after what it depends on.

    The dependencies of a task come right before it, themselves in that order.

    Raises:
        EvaluationFailed: a task depends on one that is not there, or in the end on itself.
    """
    by_priority = sorted(tasks, key=lambda task: -task.priority)
    position = {task.id: index for index, task in enumerate(by_priority)}
    for task in tasks:
        for name in task.dependencies:
            if name not in position:
                raise EvaluationFailed(f"task {task.id!r} depends on {name!r}, which is not there")

    def before(task: Task) -> Iterator[Task]:
        return (by_priority[index] for index in sorted({position[name] for name in task.dependencies}))

    done: dict[str, Task] = {}
    for task in by_priority:
        _visit(task, before, done)
    return list(done.values())


def _visit(first: Task, before: Callable[[Task], Iterator[Task]], done: dict[str, Task]) -> None:
    """Append a task and, before it, all that it depends on. Without recursion: chains are as long as people write them."""
    pending = [(first, before(first))] if first.id not in done else []
    under_way = {first.id}
    while pending:
        task, needed = pending[-1]
        following = next((each for each in needed if each.id not in done), None)
        if following is None:
            done[task.id] = task
            under_way.discard(task.id)
            pending.pop()
        elif following.id in under_way:
            raise EvaluationFailed(f"task {following.id!r} depends on itself")
        else:
            under_way.add(following.id)
            pending.append((following, before(following)))
