"""Messages that no peer should send, for every queue that something of ours consumes."""

import json
from collections.abc import Callable, Iterator
from itertools import count

from acceptance.jsonbus.php_peer import Message, encode

LARGE = 10_000_000
DEEP = b"[" * 600 + b"]" * 600
JOB: Message = {"id": "j", "taskId": "t", "createTime": "22-11-2026 17:01:45", "status": "success"}
TASK: Message = {"type": "task", "id": "t", "requestId": "r", "createTime": "now", "status": "active"}

Poison = Callable[[int], bytes]

ANYWHERE: tuple[Poison, ...] = (
    lambda _: b"",
    lambda _: b"{",
    lambda n: b"no json %d" % n,
    lambda _: b"null",
    lambda _: b"[]",
    lambda n: b'{"number":%d}' % n,
    lambda _: b'\xef\xbb\xbf{"type":"request"}',
    lambda n: b'{"type":"request","id":"\xff%d","clientId":"php","subject":"local"}' % n,
    lambda _: b'{"type":"request","id":"\\ud800","clientId":"php","subject":"local"}',
    lambda _: b'{"type":"request","id":NaN}',
    lambda _: b'{"type":["request"]}',
    lambda _: b'{"type":"Request","id":"1","clientId":"nobody","subject":"local"}',
    lambda _: b'{"type":"unheard of"}',
    lambda _: DEEP,
)
"""What is poison in any queue."""

REQUESTS: tuple[Poison, ...] = (
    *ANYWHERE,
    lambda n: b'{"type":"request","id":"deep%d","clientId":"php","subject":"local","data":%b}' % (n, DEEP),
    lambda _: b'{"type":"request","id":7,"clientId":[],"subject":{},"params":"x"}',
    lambda n: encode({"type": "request", "id": f"p{n}", "clientId": "../../etc", "subject": "local"}),
    lambda n: encode(TASK | {"id": f"t{n}"}),
    lambda n: encode({"type": "job", **JOB, "id": f"j{n}"}),
    lambda n: encode({"type": "result", "job": {**JOB, "id": f"j{n}"}}),
    lambda _: encode({"type": "notification", "requestId": "1", "status": "fail", "message": ""}),
)
"""What is a dead letter in the queue of requests. Nobody can be answered."""

RESULTS: tuple[Poison, ...] = (
    *ANYWHERE,
    lambda n: encode({"type": "result", "taskId": f"t{n}", "jobStatus": "done", "data": {}}),
    lambda _: encode({"type": "result", "job": "j"}),
    lambda n: encode({"type": "result", "job": {**JOB, "status": "new", "id": f"j{n}"}}),
    lambda n: encode({"type": "result", "job": {**JOB, "id": n}}),
    lambda n: encode({"type": "job", **JOB, "id": f"j{n}"}),
    lambda _: encode({"type": "request", "id": "1", "clientId": "nobody", "subject": "local"}),
)
"""What is a dead letter in the queue of results."""

ANSWERS: tuple[Poison, ...] = (
    *ANYWHERE,
    lambda n: encode({"type": "notification", "requestId": n, "status": "success", "message": "done"}),
    lambda _: encode({"type": "notification", "requestId": "1", "status": "progress", "message": "50 %"}),
    lambda _: encode({"type": "notification", "requestId": "1", "status": "success", "message": None}),
    lambda n: encode({"type": "result", "job": {**JOB, "id": f"j{n}"}}),
)
"""What is a dead letter in the queue of other nodes' answers."""

JOBS: tuple[Poison, ...] = (
    *ANYWHERE,
    lambda _: encode({"type": "request", "id": "1", "clientId": "nobody", "subject": "local"}),
    lambda n: encode({"type": "result", "job": {**JOB, "id": f"j{n}"}}),
    lambda _: encode({"type": "job", "id": "1"}),
)
"""What is a dead letter in the queue of jobs."""

HUGE: tuple[Poison, ...] = (
    lambda _: b"x" * LARGE,
    lambda _: b"[" * LARGE,
    lambda _: b'{"type":"request","id":"' + b"y" * LARGE + b'","clientId":"php","subject":"local"}',
    lambda _: json.dumps({"type": "request", "id": "z", "clientId": "../", "data": "z" * LARGE}).encode(),
)
"""Bodies of 10 MB that are dead letters in any queue."""


def bodies(kinds: tuple[Poison, ...]) -> Iterator[bytes]:
    """Return them again and again, without end."""
    return (kinds[number % len(kinds)](number) for number in count())
