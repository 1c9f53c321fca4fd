"""The codec by cases: what is accepted and what it says, what is refused and why, and what is written."""

import json
import sys
import time

import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.json_size import MAX_VALUES
from crossdock.protocols.jsonbus.codec import create_time, decode, encode
from crossdock.protocols.jsonbus.messages import Job, Message, Notification, Refused, Request, Result, Task

REQUEST = {"type": "request", "id": "r1", "clientId": "c1", "subject": "thumbnail"}
TASK = {"type": "task", "id": "t1", "requestId": "r1", "createTime": "22-11-2026 17:01:45", "status": "wait"}
JOB = {"type": "job", "id": "j1", "taskId": "t1", "createTime": "2026-11-22T17:01:45Z", "status": "new"}
NOTIFICATION = {"type": "notification", "requestId": "r1", "status": "success", "message": "done"}
RESULT = {"type": "result", "job": {**JOB, "status": "success"}}
WIRES = {wire["type"]: wire for wire in (REQUEST, TASK, JOB, NOTIFICATION, RESULT)}

request = Request(id="r1", client_id="c1", subject="thumbnail")
job = Job(id="j1", task_id="t1", create_time="2026-11-22T17:01:45Z", status="new")


def text(wire: object, **changes: object) -> bytes:
    return json.dumps({**wire, **changes} if isinstance(wire, dict) else wire).encode()


def without(wire: dict, name: str) -> dict:
    return {key: value for key, value in wire.items() if key != name}


def accepted(body: bytes) -> Message:
    message = decode(body)
    assert not isinstance(message, Refused), message
    return message


def refused(body: bytes) -> Refused:
    message = decode(body)
    assert isinstance(message, Refused), message
    return message


# Reading


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (REQUEST, request),
        (TASK, Task(id="t1", request_id="r1", create_time="22-11-2026 17:01:45", status="wait")),
        (JOB, job),
        (NOTIFICATION, Notification(request_id="r1", status="success", message="done")),
        (
            RESULT,
            Result(job=Job(id="j1", task_id="t1", create_time="2026-11-22T17:01:45Z", status="success")),
        ),
    ],
    ids=WIRES,
)
def test_the_smallest_messages(wire, message):
    assert accepted(text(wire)) == message
    assert json.loads(encode(message)) == wire


@pytest.mark.parametrize("place", ["first", "last"])
def test_the_order_of_members_means_nothing(place):
    wire = REQUEST if place == "first" else {**without(REQUEST, "type"), "type": "request"}
    assert accepted(json.dumps(wire).encode()) == request


@pytest.mark.parametrize("wire", [REQUEST, TASK, JOB, NOTIFICATION, RESULT], ids=WIRES)
def test_unknown_members_stay_letter_by_letter(wire):
    body = text(wire)[:-1] + b', "cost" : 1.50, "deep":{"b": [1e3,  -0], "a":"\\u00e9"}}'
    message = accepted(body)
    assert message.extra == {"cost": b"1.50", "deep": b'{"b": [1e3,  -0], "a":"\\u00e9"}'}
    assert b'"cost":1.50,"deep":{"b": [1e3,  -0], "a":"\\u00e9"}' in encode(message)
    assert accepted(encode(message)) == message


@pytest.mark.parametrize("created", ["", "22-11-2026 17:01:45", "2026-11-22T17:01:45Z", "yesterday", "\u00e9"])
def test_any_create_time_is_kept(created):
    assert accepted(text(JOB, createTime=created)).create_time == created


@pytest.mark.parametrize("name", ["id", "clientId", "subject"])
def test_empty_strings_pass(name):
    accepted(text(REQUEST, **{name: ""}))


@pytest.mark.parametrize(
    "params", [b"{}", b"[]", b'{"0":"a","1":"b"}', b'["a", {"0":1}]', b'{ "n" : 1.0 }'], ids=lambda params: params.decode()
)
def test_params_are_kept_as_they_came(params):
    assert accepted(text(REQUEST)[:-1] + b',"params":' + params + b"}").params == params


@pytest.mark.parametrize("data", [b"null", b"0", b'"text"', b"[]", b"false", b"1" * 5000, b"-1e999", b'{"a":{}}'])
def test_data_may_be_anything(data):
    for wire in WIRES.values():
        message = accepted(text(wire)[:-1] + b',"data":' + data + b"}")
        assert message.data == data
        assert accepted(encode(message)) == message


def test_missing_data_and_null_are_told_apart():
    assert accepted(text(NOTIFICATION)).data is None
    assert accepted(text(NOTIFICATION, data=None)).data == b"null"


@pytest.mark.parametrize("wire", [NOTIFICATION, RESULT], ids=["notification", "result"])
@pytest.mark.parametrize("params", [None, "x", 5, []])
def test_params_are_unknown_members_where_the_schema_has_none(wire, params):
    assert accepted(text(wire, params=params)).extra == {"params": json.dumps(params).encode()}


@pytest.mark.parametrize("inner", [{}, {"type": "job"}, {"type": "zzz"}, {"type": None}, {"type": 5}])
def test_the_type_of_a_results_job_may_be_anything_or_missing(inner):
    wire = {"type": "result", "job": {**without(JOB, "type"), "status": "fail", **inner}}
    result = accepted(text(wire))
    assert result == Result(job=Job(id="j1", task_id="t1", create_time=JOB["createTime"], status="fail"))
    assert json.loads(encode(result))["job"]["type"] == "job"


def test_the_job_in_a_result_keeps_what_the_worker_copied():
    inner = {**JOB, "status": "success", "attempt": 3, "params": {"a": 1}, "host": "w7"}
    result = accepted(text({"type": "result", "job": inner, "data": [1], "took": 2}))
    assert (result.job.attempt, result.job.params, result.job.extra) == (3, b'{"a": 1}', {"host": b'"w7"'})
    assert (result.data, result.extra) == (b"[1]", {"took": b"2"})


@pytest.mark.parametrize(
    ("attempt", "read"),
    [
        (b"1", 1),
        (b"9007199254740993", 9007199254740993),
        (b"9223372036854775807", 2**63 - 1),
        (b"9223372036854775808", None),  # AMQP has no header for it, and a worker answers with one
        (b"-9223372036854775809", None),
        (b"9" * 5000, None),
        (b'"1"', None),
        (b"1.5", None),
        (b"1.0", None),
        (b"null", None),
        (b"{}", None),
    ],
)
def test_an_attempt_is_an_integer_and_anything_else_an_unknown_member(attempt, read):
    message = accepted(text(JOB)[:-1] + b',"attempt":' + attempt + b"}")
    assert message.attempt == read
    assert message.extra == ({} if read is not None else {"attempt": attempt})
    assert b'"attempt":' + attempt in encode(message)


def test_of_a_repeated_member_the_last_counts():
    body = b'{"type":"job","id":5,"clientId":"c0","subject":"",' + text(REQUEST).removeprefix(b"{")
    assert accepted(body) == request


@pytest.mark.parametrize("body", [b" \r\n\t%b\n " % text(REQUEST), text(REQUEST).replace(b":", b" :\t")])
def test_whitespace_around_it_does_no_harm(body):
    assert accepted(body) == request


@pytest.mark.parametrize("spelt", [b'"\\u0072\\u0031"', b'"r\\u0031"'])
def test_ids_are_compared_as_what_they_mean(spelt):
    assert accepted(text(REQUEST).replace(b'"r1"', spelt)) == request


def test_characters_beyond_the_first_plane():
    subject = "\U0001f600\u00e9"
    escaped = text(REQUEST, subject=subject)
    assert escaped.isascii()
    assert accepted(escaped) == accepted(text(REQUEST).replace(b"thumbnail", subject.encode()))


# Refusing


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "it is no JSON text: Input data was truncated"),
        (b"hello", "it is no JSON text: invalid character (byte 0)"),
        (b"\xff\xfe{\x00}\x00", "it begins with a byte order mark; send UTF-8 without one"),
        (b"\xef\xbb\xbf" + text(REQUEST), "it begins with a byte order mark; send UTF-8 without one"),
        (b'{"type":"request","id":"\xff"}', "it is not UTF-8 at byte 24"),
        (b'{"type":"request","x":{"y":"\xed\xa0\x80"}}', "it is not UTF-8 at byte 28"),
        (b"[]", "it is no JSON object"),
        (b'"request"', "it is no JSON object"),
        (b"null", "it is no JSON object"),
        (b"5", "it is no JSON object"),
        (text(REQUEST) + b"{}", "it is no JSON text: trailing characters (byte 74)"),
        (b'O:8:"stdClass":0:{}', "it is no JSON text: invalid character (byte 0)"),
        (b"{'type': 'request'}", "it is no JSON text: object keys must be strings (byte 1)"),
    ],
)
def test_what_is_no_object_in_json(body, reason):
    assert refused(body) == Refused(reason=reason)


WORDS = ["NaN", "Infinity", "-Infinity", "nan", "01", "1.", ".5", "+1", "0x10", "1e", "--1", "'a'", "tru", "", "1 2"]
LISTS = ["[", "]", "[1,]", "[1 2]", '{"a":1,}', '{"a"}', "{1:2}"]
TEXTS = ['"\\x41"', '"\t"', '"\x01"', '"']
HALVES = ['"\\ud800"', '"\\udc00"', '"\\ude00\\ud83d"', '{"\\ud800":1}', '["x\\ud800y"]', '{"a":{"b":["\\udfff"]}}']


@pytest.mark.parametrize("value", [*WORDS, *LISTS, *TEXTS, *HALVES])
def test_what_is_no_json_inside_of_data(value):
    assert refused(text(REQUEST)[:-1] + f',"data":{value}}}'.encode()).reason.startswith("it is no JSON text: ")


@pytest.mark.parametrize("kind", ["Request", "REQUEST", "", " request", "answer", "messages\\request"])
def test_an_unknown_type(kind):
    wrong = refused(text(REQUEST, type=kind))
    assert wrong.reason == "'type' must be one of request, task, job, notification, result, in lower case"
    assert (wrong.request_id, wrong.client_id) == ("r1", "c1")


@pytest.mark.parametrize("kind", [None, 1, True, ["request"], {"0": "request"}])
def test_a_type_that_is_no_text(kind):
    assert refused(text(REQUEST, type=kind)).reason.startswith("'type' must be one of request, ")


def test_a_missing_type():
    assert refused(text(without(REQUEST, "type"))) == Refused(
        reason="the member 'type' is missing", request_id="r1", client_id="c1"
    )


MEMBERS = [(wire, name) for wire in (REQUEST, TASK, JOB, NOTIFICATION) for name in wire if name != "type"]


@pytest.mark.parametrize(("wire", "name"), MEMBERS)
def test_a_member_that_is_missing_or_no_text(wire, name):
    assert refused(text(without(wire, name))).reason == f"the member '{name}' is missing"
    for value in (None, 5, True, ["a"], {"a": 1}):
        assert refused(text(wire, **{name: value})).reason == f"'{name}' must be a string"


@pytest.mark.parametrize("name", [name for name in JOB if name != "type"])
def test_a_member_of_a_results_job_that_is_missing_or_no_text(name):
    assert refused(text({"type": "result", "job": without(JOB, name)})).reason == f"in 'job': the member '{name}' is missing"
    assert refused(text({"type": "result", "job": {**JOB, name: 1}})).reason == f"in 'job': '{name}' must be a string"


@pytest.mark.parametrize(
    ("wire", "statuses"),
    [(TASK, "active, wait, fail, complete"), (JOB, "new, success, fail"), (NOTIFICATION, "success, fail")],
)
@pytest.mark.parametrize("status", ["", "done", "Success", "running"])
def test_a_status_that_the_protocol_does_not_know(wire, statuses, status):
    assert refused(text(wire, status=status)).reason == f"'status' must be one of {statuses}"


@pytest.mark.parametrize("wire", [REQUEST, TASK, JOB], ids=["request", "task", "job"])
@pytest.mark.parametrize("params", ["x", "", None, 5, False])
def test_params_that_are_neither_object_nor_list(wire, params):
    assert refused(text(wire, params=params)).reason == "'params' must be an object or a list"


@pytest.mark.parametrize("inner", [None, [], "j1", 5])
def test_a_result_whose_job_is_no_object(inner):
    assert refused(text({"type": "result", "job": inner})).reason == "'job' must be an object"


def test_a_result_without_a_job():
    assert refused(b'{"type":"result"}').reason == "the member 'job' is missing"


@pytest.mark.parametrize(
    "older", [{"taskId": "t1", "jobStatus": "done", "data": []}, {"taskId": "t1"}, {"jobStatus": "fail"}]
)
def test_the_older_form_of_results_has_a_reason_of_its_own(older):
    assert refused(text({"type": "result", **older})) == Refused(
        reason="it is a result of the older form with taskId and jobStatus; send the job in the member 'job'"
    )


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        (text(REQUEST, subject=5), ("r1", "c1")),
        (text(REQUEST, params="x"), ("r1", "c1")),
        (text(REQUEST, id=5), (None, "c1")),
        (text(REQUEST, clientId=None), ("r1", None)),
        (text(REQUEST, type="Request"), ("r1", "c1")),
        (text(without(REQUEST, "type")), ("r1", "c1")),
        (text(REQUEST, type="request", data=[[0]]).replace(b"[[0]]", b"[" * 600 + b"]" * 600), ("r1", "c1")),
        (text(REQUEST)[:-1], (None, None)),
        (text({**JOB, "clientId": "c1"}, status="done"), (None, None)),
        (text({**NOTIFICATION, "id": "r1", "clientId": "c1"}, status=""), (None, None)),
    ],
)
def test_who_sent_it_is_told_if_it_can_be_read(body, ids):
    wrong = refused(body)
    assert (wrong.request_id, wrong.client_id) == ids


# Much


def nested(levels: int, begin: str = "[", end: str = "]") -> bytes:
    return text(REQUEST)[:-1] + b',"params":' + begin.encode() * levels + end.encode() * levels + b"}"


@pytest.mark.parametrize("begin", ["[", '{"a":'])
def test_nesting_is_as_deep_as_php_reads_it(begin):
    end = {"[": "]", '{"a":': "}"}[begin]
    inner = "" if begin == "[" else "1"
    whole = nested(511, begin, end).replace((begin + end).encode(), (begin + inner + end).encode())
    message = accepted(whole)
    assert accepted(encode(message)) == message
    deeper = whole.replace((begin + inner + end).encode(), (begin + begin + inner + end + end).encode())
    assert refused(deeper) == Refused(reason="it is nested deeper than 512 levels", request_id="r1", client_id="c1")


@pytest.mark.parametrize("levels", [600, 5000, 100_000, 5_000_000])
def test_any_nesting_is_refused_at_once(levels):
    started = time.thread_time()
    assert refused(nested(levels)).reason == "it is nested deeper than 512 levels"
    assert refused(nested(levels).rstrip(b"]}")).reason  # cut off
    assert time.thread_time() - started < 2


def test_brackets_in_strings_are_no_nesting():
    accepted(text(REQUEST, data="[{" * 2000, params={'"[{\\"[' * 300: 1}))
    accepted(text(REQUEST, data=["]", [["\\"]], "[" * 600, [[]] * 600]))


def test_deep_in_a_stack_it_still_does_not_raise():
    def deeper(levels: int) -> object:
        return deeper(levels - 1) if levels else decode(nested(500))

    frames = sys._getframe()
    depth = 0
    while frames.f_back:
        frames, depth = frames.f_back, depth + 1
    assert isinstance(deeper(sys.getrecursionlimit() - depth - 60), Request | Refused)


@pytest.mark.parametrize(
    ("data", "is_refused"),
    [
        (b'"%b"' % (b"a" * 10_000_000), False),
        (b"[%b1]" % (b"1," * (MAX_VALUES - 50)), False),
        (b"[%b1]" % (b"1," * 5_000_000), True),
        (b"[%b1]" % (b"[]," * 3_300_000), True),
        (b'"%b"' % (b"\\\\[" * 3_300_000), False),
        (b'["%b"]' % (b'","[' * 3_300_000), True),
        (b"1" * 10_000_000, False),
        (b"[" * 10_000_000, True),
        (b"\xc3\xa9" * 5_000_000, True),
        (b'"%b"' % (b"\xc3\xa9" * 5_000_000), False),
    ],
    ids=["a string", "values", "too many values", "lists", "brackets in a string", "small strings", "a number", "openings",
         "no JSON", "a long word"],
)  # fmt: skip
def test_ten_megabytes_are_dealt_with_quickly(data, is_refused):
    body = text(REQUEST)[:-1] + b',"data":' + data + b"}"
    started = time.thread_time()
    message = decode(body)
    assert time.thread_time() - started < 3
    assert isinstance(message, Refused) == is_refused, message if isinstance(message, Refused) else ""


def test_too_many_values_are_refused_with_what_to_do():
    wrong = refused(text(REQUEST)[:-1] + b',"data":[%b1]}' % (b"1," * MAX_VALUES))
    assert wrong.reason.startswith("the JSON text has more than 2,500,000 values")
    assert (wrong.request_id, wrong.client_id) == ("r1", "c1")


# Writing


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
def test_type_comes_first_and_nothing_is_added(wire):
    body = encode(accepted(text(wire, data=None)))
    assert body.startswith(b'{"type":"%b",' % wire["type"].encode())
    assert json.loads(body) == {**wire, "data": None}


def test_what_is_known_wins_over_an_unknown_member_of_that_name():
    message = Notification(
        request_id="r1", status="fail", message="no", data=b"1", extra={"type": b'"x"', "data": b"2", "y": b"3"}
    )
    assert encode(message) == b'{"type":"notification","requestId":"r1","status":"fail","message":"no","data":1,"y":3}'


def test_text_is_written_as_utf_8():
    body = encode(Notification(request_id="\u00e9\u2028", status="fail", message='"\\\n\0\U0001f600'))
    assert json.loads(body.decode()) == {
        **NOTIFICATION,
        "requestId": "\u00e9\u2028",
        "status": "fail",
        "message": '"\\\n\0\U0001f600',
    }


@pytest.mark.parametrize(
    "data", [b"NaN", b"", b"{", b"1 2", b"\xff", b'"\xff"', b'"\\ud800"', b"[" * 512 + b"]" * 512, b"[" * 10**6, b"1}"]
)
def test_what_the_receiver_could_not_read_is_not_written(data):
    for message in (
        Notification(request_id="r1", status="success", message="", data=data),
        Request(id="r1", client_id="c1", subject="s", params=data),
        Job(id="j1", task_id="t1", create_time="", status="new", extra={"x": data}),
    ):
        with pytest.raises(CrossdockError, match="cannot be sent over json-bus: ") as caught:
            encode(message)
        assert caught.value.code == Code.INVALID


@pytest.mark.parametrize("word", ["\ud800", "x\udfff"])
def test_half_of_a_surrogate_pair_is_not_written(word):
    with pytest.raises(CrossdockError, match="not sound UTF-8"):
        encode(Notification(request_id="r1", status="fail", message=word))


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "1970-01-01T00:00:00Z"), (1795366905, "2026-11-22T17:01:45Z"), (1795366905.999, "2026-11-22T17:01:45Z")],
)
def test_our_create_time(seconds, written):
    assert create_time(seconds) == written
