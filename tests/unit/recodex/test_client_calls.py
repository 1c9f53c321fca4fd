"""What the clients say and understand, without any connection."""

import json

import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.requests import Step
from crossdock.protocols.recodex.client import calls
from crossdock.protocols.recodex.client.calls import AWAY, LAST_WORDS, Address, Answering, Following, parse_address
from crossdock.protocols.recodex.client.config import JobConfig
from crossdock.protocols.recodex.client.packing import Submission
from crossdock.protocols.recodex.messages import Accept, Ack, Eval, Freeze, GetStats, Stats

EVAL = Eval("j", "http://a", "http://r")
CONFIG = JobConfig(job_id="j", groups=("a", "b"), tasks=())


def refused(call, *arguments) -> CrossdockError:
    with pytest.raises(CrossdockError) as caught:
        call(*arguments)
    return caught.value


def test_the_whole_address():
    url = (
        "recodex+tcp://broker:77?files=http://files:99/base/&monitor=wss://web/ws&username=me&separator=no"
        "&server_key=/a.key&secret_key=/b.key_secret"
    )
    assert parse_address(url) == Address(
        broker="tcp://broker:77",
        files="http://files:99/base",
        monitor="wss://web/ws",
        username="me",
        separated=False,
        server_key="/a.key",
        secret_key="/b.key_secret",
    )


def test_the_shortest_address():
    assert parse_address("recodex+tcp://[::1]?files=https://f") == Address(broker="tcp://[::1]:9658", files="https://f")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://h", "is no address like recodex+tcp://HOST:9658?files="),
        ("recodex+tcp://?files=http://f", "is no address like"),
        ("recodex+tcp://h:99999?files=http://f", "is no address like"),
        ("recodex+tcp://h/path?files=http://f", "is no address like"),
        ("recodex+tcp://u:p@h?files=http://f", "is no address like"),
        ("recodex+tcp://h?files", "is no address like"),
        ("recodex+tcp://h", "needs a URL of http or https"),
        ("recodex+tcp://h?files=ftp://f", "needs a URL of http or https"),
        ("recodex+tcp://h?files=http://u:p@f", "without a password"),
        ("recodex+tcp://h?files=http://f:x", "needs a URL of http or https"),
        ("recodex+tcp://h?files=http://f&monitor=http://m", "needs a URL of ws or wss"),
        ("recodex+tcp://h?files=http://f&monitr=ws://m", "'monitr' is not known; there are files, monitor"),
        ("recodex+tcp://h?files=http://f&server_key=x", "server_key and secret_key are needed together"),
    ],
)
def test_addresses_that_are_none(url, says):
    error = refused(parse_address, url)
    assert error.code is Code.INVALID
    assert says in error.message


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ([], (("hwgroup", "a|b"),)),
        ([("env", "c")], (("hwgroup", "a|b"), ("env", "c"))),
        ([("hwgroup", "z")], (("hwgroup", "z"),)),
    ],
)
def test_the_group_is_that_of_the_configuration_unless_one_is_given(headers, wanted):
    assert calls.requirements(CONFIG, headers) == wanted


def test_a_configuration_without_groups_asks_for_none():
    assert calls.requirements(JobConfig(job_id="j", groups=(), tasks=()), []) == ()


@pytest.mark.parametrize("job", ["", "a/b", "a\n"])
def test_ids_that_are_none(job):
    assert refused(calls.submission_path, job).code is Code.INVALID


def test_the_urls_of_a_job():
    address = Address(broker="tcp://h:1", files="http://f/base")
    submission = Submission(files={}, config=CONFIG)
    handle = calls.handle_of(address, submission, b'{"archive_path": "/s/j.zip", "result_path": "/r/j.zip", "x": 1}')
    assert (handle.id, handle.archive, handle.result) == ("j", "http://f/base/s/j.zip", "http://f/base/r/j.zip")


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b'{"archive_path": "http://evil/", "result_path": "/r"}'])
def test_answers_of_the_file_server_that_are_none(answer):
    address = Address(broker="tcp://h:1", files="http://f")
    assert refused(calls.handle_of, address, Submission(files={}, config=CONFIG), answer).code is Code.INTERNAL


def test_an_accept_is_waited_for_with_or_without_an_ack():
    answering = Answering(EVAL)
    assert answering.receive([b"ack"]) is None
    assert answering.receive([b"greetings"]) is None
    assert answering.receive([b"accept"]) == Accept()
    assert Answering(EVAL).receive([b"accept"]) == Accept()


@pytest.mark.parametrize(
    ("frames", "says"),
    [([b"reject", b"No worker: \n"], "rejects the job: No worker:"), ([b"reject"], "rejects the job: it does not say why")],
)
def test_a_rejection(frames, says):
    error = refused(Answering(EVAL).receive, frames)
    assert error.code is Code.CONFLICT
    assert error.message.endswith(says)


def test_other_questions_have_other_answers():
    assert Answering(Freeze()).receive([b"ack"]) == Ack()
    stats = Answering(GetStats()).receive([b"queued-jobs", b"3", b"is-frozen", b"0"])
    assert stats == Stats((("queued-jobs", "3"), ("is-frozen", "0")))
    assert calls.counters(stats) == {"queued-jobs": 3, "is-frozen": 0}
    assert refused(calls.counters, Stats((("a", "b"),))).code is Code.INTERNAL


def test_silence_says_whether_the_job_may_run():
    answering = Answering(EVAL)
    assert "is the broker running there?" in answering.silence("tcp://h:1", 2.0).message
    answering.receive([b"ack"])
    assert "it may run nevertheless" in answering.silence("tcp://h:1", 2.0).message


def told(command, *task) -> str:
    return json.dumps(dict(zip(("command", "task_id", "task_state"), (command, *task), strict=False)))


def test_steps_until_the_end():
    following = Following("j")
    following.connected()
    assert following.receive(told("STARTED")) == Step("STARTED")
    assert following.receive(told("TASK", "a", "COMPLETED").encode()) == Step("TASK", "a", "COMPLETED")
    assert not following.over
    assert following.receive(told("FINISHED")) == Step("FINISHED")
    assert following.over


def test_what_is_repeated_after_a_broken_connection_is_told_once():
    following = Following("j")
    for text in (told("STARTED"), told("TASK", "a", "COMPLETED"), told("TASK", "a", "COMPLETED")):
        assert following.receive(text) is not None
    following.connected()
    for text in (told("STARTED"), told("TASK", "a", "COMPLETED"), told("TASK", "a", "COMPLETED")):
        assert following.receive(text) is None
    assert following.receive(told("ENDED")) == Step("ENDED")


def test_a_monitor_that_forgot_everything_is_believed():
    following = Following("j")
    following.receive(told("STARTED"))
    following.receive(told("TASK", "a", "COMPLETED"))
    following.connected()
    assert following.receive(told("TASK", "b", "COMPLETED")) == Step("TASK", "b", "COMPLETED")
    assert following.receive(told("TASK", "c", "COMPLETED")) == Step("TASK", "c", "COMPLETED")
    following.connected()
    assert following.receive(told("TASK", "b", "COMPLETED")) is None
    assert following.receive(told("TASK", "c", "COMPLETED")) is None


def test_units_beside_the_steps_are_passed_over():
    units = [json.dumps({"command": "PROGRESS", "done": done, "total": 2, "message": ""}) for done in (1, 2)]
    following = Following("j")
    for text in (told("STARTED"), units[0], told("TASK", "a", "COMPLETED"), units[1]):
        following.receive(text)
    following.connected()
    # Of its units the monitor repeats the last only.
    assert [following.receive(text) for text in (told("STARTED"), told("TASK", "a", "COMPLETED"), units[1])] == [None] * 3
    assert following.receive(told("ENDED")) == Step("ENDED")


def test_failed_alone_is_an_end_after_a_while():
    following = Following("j")
    assert following.wait(0.0) is None
    following.receive(told("FAILED"))
    assert following.wait(0.0) == LAST_WORDS
    following.silent(LAST_WORDS)
    assert following.over
    following.check()


def test_a_job_that_is_taken_up_again_has_not_failed():
    following = Following("j")
    following.receive(told("FAILED"))
    following.receive(told("DOWNLOADED"))
    assert following.wait(0.0) is None


def test_the_deadline():
    following = Following("j", deadline=10.0)
    assert following.wait(4.0) == 6.0
    following.silent(4.0)
    assert not following.over
    assert following.pause(4.0) > 0
    following.silent(10.0)
    assert following.over
    with pytest.raises(TimeoutError, match="j has not ended in time"):
        following.check()


def test_the_deadline_also_holds_between_connections():
    following = Following("j", deadline=10.0)
    assert following.pause(10.0) == 0
    with pytest.raises(TimeoutError):
        following.check()


def test_a_monitor_that_is_away_for_long():
    following = Following("j")
    following.lost(100.0, "ws://m", OSError("no"))
    following.lost(100.0 + AWAY, "ws://m", OSError("no"))
    assert refused(following.lost, 101.0 + AWAY, "ws://m", OSError("no")).code is Code.UNAVAILABLE
    following.connected()
    following.lost(500.0, "ws://m", OSError("no"))


@pytest.mark.parametrize("text", ["nonsense", "[]", "{}", '{"command": 1}'])
def test_nonsense_of_the_monitor(text):
    assert refused(Following("j").receive, text).code is Code.INTERNAL


def test_a_monitor_that_does_not_stop(monkeypatch):
    monkeypatch.setattr(calls, "_MOST_SEEN", 3)
    following = Following("j")
    for number in range(3):
        following.receive(told("TASK", str(number), "COMPLETED"))
    assert refused(following.receive, told("TASK", "3", "COMPLETED")).code is Code.INTERNAL


@pytest.mark.parametrize(("status", "code"), [(401, Code.UNAUTHORIZED), (404, Code.NOT_FOUND), (302, Code.INTERNAL)])
def test_what_the_file_server_refuses(status, code):
    calls.refuse("http://f", 200, b"")
    assert refused(calls.refuse, "http://f", status, b"").code is code


def test_downloads_have_an_end(monkeypatch):
    monkeypatch.setattr(calls, "ARCHIVE_BYTES", 5)
    content = bytearray()
    calls.grown(content, b"12345", "http://f")
    assert refused(calls.grown, content, b"6", "http://f").code is Code.TOO_LARGE
