"""The codec of both doors: laws over any message, and the decisions about malformed and old messages one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.protocols.recodex.codec import (
    decode_from_client,
    decode_from_worker,
    decode_to_client,
    decode_to_worker,
    encode_from_client,
    encode_from_worker,
    encode_to_client,
    encode_to_worker,
)
from crossdock.protocols.recodex.messages import (
    Accept,
    Ack,
    Done,
    Eval,
    Evaluate,
    Extended,
    Freeze,
    GetStats,
    Init,
    Intro,
    Malformed,
    Owed,
    Ping,
    Pong,
    Progress,
    Reject,
    Stats,
    Unfreeze,
    Unknown,
)

text = st.text(st.characters(exclude_categories=["Cs"]))
word = text.filter(bool)
name = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="=")).filter(lambda n: not n.startswith("meta."))
pairs = st.lists(st.tuples(name, text)).map(tuple)
meta = st.dictionaries(name, text).map(lambda found: tuple(found.items()))
evals = st.builds(Eval, word, text, text, pairs, meta, st.just(True)) | st.builds(
    Eval, word, word, word, pairs, meta, st.just(False)
)
extended = st.builds(Extended, st.integers(0, 10**18 - 1), st.binary())
frames = st.lists(
    st.binary() | st.sampled_from([b"", b"eval", b"init", b"done", b"progress", b"ping", b"crossdock", b"=", b"ack"])
)


@given(evals | st.sampled_from([GetStats(), Freeze(), Unfreeze()]))
def test_what_a_client_says_comes_through(message):
    assert decode_from_client(encode_from_client(message)) == message


@given(
    st.sampled_from([Ack(), Accept()])
    | st.builds(Reject, text)
    | st.builds(
        Stats, st.lists(st.tuples(word.filter(lambda w: w not in {"ack", "accept", "reject"}), text), min_size=1).map(tuple)
    )
)
def test_what_a_broker_answers_comes_through(message):
    assert decode_to_client(encode_to_client(message)) == message


@given(
    st.just(Ping())
    | st.builds(Done, text, text, text)
    | st.builds(Progress, st.lists(st.binary(), min_size=2).map(tuple))
    | st.builds(Init, word, pairs, st.none() | pairs)
    | extended
)
def test_what_a_worker_says_comes_through(message):
    assert decode_from_worker(encode_from_worker(message)) == message


@given(st.sampled_from([Intro(), Pong()]) | st.builds(Evaluate, text, text, text) | extended)
def test_what_a_broker_tells_a_worker_comes_through(message):
    assert decode_to_worker(encode_to_worker(message)) == message


@given(frames)
def test_no_frames_make_a_decoder_fail(garbage):
    for decode in (decode_from_client, decode_to_client, decode_from_worker, decode_to_worker):
        decode(garbage)
        decode([b"eval", *garbage])
        decode([b"init", *garbage])


@given(st.builds(Owed, text, text, text))
def test_an_address_comes_through_the_outbox(owed):
    assert Owed.read(owed.address()) == owed


def test_the_frames_are_those_of_the_original_programs():
    job = Eval("student_1", "http://a", "http://r", (("hwgroup", "g1|g2"), ("env", "c")), (("kind", "echo"),))
    assert encode_from_client(job) == [
        b"eval", b"student_1", b"meta.kind=echo", b"hwgroup=g1|g2", b"env=c", b"", b"http://a", b"http://r",
    ]  # fmt: skip
    init = Init("group1", (("env", "c"), ("threads", "2")), (("description", "probe"), ("current_job", "ghost")))
    assert encode_from_worker(init) == [
        b"init", b"group1", b"env=c", b"threads=2", b"", b"description=probe", b"current_job=ghost",
    ]  # fmt: skip
    assert encode_from_worker(Done("j", "OK")) == [b"done", b"j", b"OK", b""]
    assert encode_to_worker(Evaluate("j", "a", "r")) == [b"eval", b"j", b"a", b"r"]
    assert encode_to_client(Reject()) == [b"reject"]


def test_without_an_empty_frame_the_last_two_frames_are_the_urls():
    frames = [b"eval", b"j", b"env=c", b"http://a?x=1", b"http://r"]
    assert decode_from_client(frames) == Eval("j", "http://a?x=1", "http://r", (("env", "c"),), separated=False)


def test_a_header_without_a_value_is_its_own_value():
    decoded = decode_from_client([b"eval", b"j", b"justaword", b"x=y=z", b"", b"a", b"r"])
    assert decoded == Eval("j", "a", "r", (("justaword", "justaword"), ("x", "y=z")))


def test_of_repeated_metadata_the_first_counts():
    decoded = decode_from_client([b"eval", b"j", b"meta.kind=a", b"meta.kind=b", b"", b"a", b"r"])
    assert decoded == Eval("j", "a", "r", meta=(("kind", "a"),))


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([b"eval"], "job id is missing"),
        ([b"eval", b"j"], "archive URL"),
        ([b"eval", b"j", b""], "archive URL"),
        ([b"eval", b"j", b"", b"a"], "archive URL"),
        ([b"eval", b"j", b"", b"a", b"r", b"x"], "archive URL"),
        ([b"eval", b"j", b"a"], "archive URL"),
        ([b"eval", b"", b"", b"a", b"r"], "job id is empty"),
        ([b"eval", b"\xff", b"", b"a", b"r"], "UTF-8"),
    ],
)
def test_an_eval_that_lacks_something_is_malformed(frames, reason):
    decoded = decode_from_client(frames)
    assert isinstance(decoded, Malformed)
    assert reason in decoded.reason
    assert decoded.separated


@pytest.mark.parametrize(
    "frames",
    [[b"init"], [b"init", b""], [b"done", b"j"], [b"done", b"j", b"OK", b"", b""], [b"progress"], [b"progress", b"j"]],
)
def test_a_worker_that_says_too_little_is_malformed(frames):
    assert isinstance(decode_from_worker(frames), Malformed)


def test_a_worker_is_never_made_to_evaluate_half_a_job():
    assert isinstance(decode_to_worker([b"eval", b"j", b"a"]), Malformed)
    assert decode_to_worker([b"\x00\x01\x02\x03\x04", b"eval", b"j", b"a", b"r"]) == Unknown(b"\x00\x01\x02\x03\x04")


def test_old_workers_say_done_with_three_frames():
    assert decode_from_worker([b"done", b"j", b"ERR"]) == Done("j", "ERR", "")
