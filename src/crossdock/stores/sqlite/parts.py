"""Event log entries, notifications, records and the segments and blocks of arrays as rows, and back."""

from typing import Final

from msgspec import msgpack

from crossdock.core.changes import Block, MemberResult, Segment
from crossdock.core.requests import Entry, Notification, Record
from crossdock.stores.sqlite.rows import Row, pack

_attempts: Final = msgpack.Decoder(dict[int, int]).decode
_results: Final = msgpack.Decoder(tuple[MemberResult, ...]).decode


def entry_row(entry: Entry) -> Row:
    """Return an entry in the order of ``insert_entry``. Its event may be a word of an enumeration: it is bound as text."""
    return (entry.job, entry.offset, entry.at, str(entry.event), bytearray(entry.data))


def entry(row: Row) -> Entry:
    """Return the entry in a row."""
    job, offset, at, event, data = row
    return Entry(job, offset, at, event, data or b"")


def notification_row(notification: Notification) -> Row:
    """Return a notification in the order of ``put_notification``."""
    return (
        notification.id,
        notification.job,
        notification.channel,
        notification.address,
        str(notification.event),
        notification.created,
        notification.due,
        notification.attempts,
    )


def notification(row: Row) -> Notification:
    """Return the notification in a row."""
    id_, job, channel, address, event, created, due, attempts = row
    return Notification(
        id=id_, job=job, channel=channel, address=address, event=event, created=created, due=due, attempts=attempts
    )


def record_row(record: Record) -> Row:
    """Return a record in the order of ``put_record``."""
    return (record.space, record.key, record.value, record.expires, record.digest)


def record(row: Row) -> Record:
    """Return the record in a row."""
    return Record(*row)


def segment_row(segment: Segment) -> Row:
    """Return a segment in the order of ``put_segment``."""
    return (
        segment.job,
        segment.number,
        segment.succeeded,
        segment.failed,
        segment.cancelled,
        pack(segment.attempts),
    )


def segment(row: Row) -> Segment:
    """Return the segment in a row."""
    job, number, succeeded, failed, cancelled, attempts = row
    return Segment(job, number, succeeded, failed, cancelled, _attempts(attempts) if attempts else {})


def block_row(block: Block) -> Row:
    """Return a block in the order of ``insert_block``."""
    return (block.job, block.segment, msgpack.encode(block.results))


def block(row: Row) -> Block:
    """Return the block in a row."""
    job, segment, results = row
    return Block(job, segment, _results(results))
