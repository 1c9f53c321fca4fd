"""The lifecycle table as every store guards it: each state with each event, once."""

import pytest

from crossdock.core.changes import Admission, Group, Transition
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Job
from crossdock.core.lifecycle import Event, State, sources, target
from crossdock.core.ports import Store
from crossdock.core.requests import Entry


def in_state(state: State) -> Job:
    return Job(id=1, kind="echo", payload=b"{}", created=1.0, state=state, token=7, events=1)


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
async def test_a_store_applies_exactly_what_the_table_allows(store: Store, state: State, event: Event) -> None:
    before = in_state(state)
    await store.commit(Group(admissions=[Admission([before])]))
    to = target(state, event)
    after = Job(id=1, kind="echo", payload=b"{}", created=1.0, state=to or State.READY, token=8, worker="w", events=2)
    group = Group(transitions={1: Transition(after, sources(event))}, entries=[Entry(1, 1, 2.0, event)])
    if to is None:
        with pytest.raises(CrossdockError) as caught:
            await store.commit(group)
        assert caught.value.code is Code.CONFLICT
        assert await store.jobs([1]) == [before]
        assert await store.entries(1, 0, 10) == []
    else:
        await store.commit(group)
        assert await store.jobs([1]) == [after]
        assert len(await store.entries(1, 0, 10)) == 1
