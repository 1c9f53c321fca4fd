"""Names and bytes of the file server, on a broker that is driven by hand."""

import asyncio

from brokers import House
from crossdock.protocols.recodex.files.shelf import Shelf


class SlowRecords:
    """Records of a store that takes its time to read."""

    def __init__(self, records):
        self._records = records

    def __getattr__(self, name):
        return getattr(self._records, name)

    async def get(self, space, key):
        found = await self._records.get(space, key)
        await asyncio.sleep(0)
        return found


async def content(number):
    yield b"%d" % number


async def test_who_replaces_a_file_has_the_old_bytes_swept_however_many_do_so_at_once():
    house = House()
    broker = await house.open()
    shelf = Shelf(SlowRecords(broker.records), house.artifacts, house.clock)
    refs = await asyncio.gather(*[shelf.store("name", content(number), 86400.0, "x/y") for number in range(20)])
    kept = (await shelf.find("name")).ref
    await broker.sweep()
    assert house.artifacts.deleted == []
    house.clock.advance(3 * 3600)
    await broker.sweep()
    assert sorted(house.artifacts.deleted) == sorted({ref.digest for ref in refs} - {kept.digest})
    await broker.close()
