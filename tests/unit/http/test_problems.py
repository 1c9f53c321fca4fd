import msgspec
import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.problems import STATUS, ProblemError, code_of, problem_response, read_problem


@pytest.mark.parametrize("code", list(Code))
def test_every_code_survives_the_way_there_and_back(code):
    response = problem_response(CrossdockError(code, "what happened"))

    assert response.media_type == "application/problem+json"
    assert response.status_code == STATUS[code]
    back = read_problem(response.status_code, response.body)
    assert (back.code, back.message) == (code, "what happened")


@pytest.mark.parametrize("code", list(Code))
def test_the_status_alone_names_the_code(code):
    assert code_of(STATUS[code]) is code


def test_statuses_are_distinct():
    assert len(set(STATUS.values())) == len(Code)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, Code.UNAUTHORIZED),
        (405, Code.INVALID),
        (410, Code.NOT_FOUND),
        (415, Code.INVALID),
        (418, Code.INVALID),
        (429, Code.UNAVAILABLE),
        (502, Code.UNAVAILABLE),
        (504, Code.UNAVAILABLE),
        (599, Code.INTERNAL),
    ],
)
def test_statuses_of_others(status, code):
    assert code_of(status) is code


@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b"[1]", b"\xff", b'{"code": 7, "detail": []}'])
def test_an_answer_that_is_no_problem_document_still_gives_an_error(body):
    error = read_problem(502, body)

    assert error.code is Code.UNAVAILABLE
    assert "502" in error.message


def test_status_headers_type_and_members_of_a_problem():
    problem = ProblemError(
        Code.NOT_FOUND, "gone", status=410, type="urn:x", headers={"x-a": "b"}, members={"job": {"code": "boom"}}
    )
    response = problem_response(problem)

    assert response.status_code == 410
    assert response.headers["x-a"] == "b"
    told = msgspec.json.decode(response.body)
    assert told["type"] == "urn:x"
    back = read_problem(410, response.body)
    assert isinstance(back, ProblemError)
    assert back.members["job"] == {"code": "boom"}


def test_who_lacks_a_key_is_told_how_to_send_one():
    assert "Bearer" in problem_response(CrossdockError(Code.UNAUTHORIZED, "no")).headers["www-authenticate"]
    forbidden = ProblemError(Code.UNAUTHORIZED, "no", status=403)
    assert "www-authenticate" not in problem_response(forbidden).headers


def test_who_comes_too_early_is_told_when_to_come_back():
    assert problem_response(CrossdockError(Code.UNAVAILABLE, "full")).headers["retry-after"] == "1"
