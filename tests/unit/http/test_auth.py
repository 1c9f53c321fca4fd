import hashlib

import pytest

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.auth import ANONYMOUS, ApiKey, Authenticator, Caller, Scope, new_key
from crossdock.http.problems import ProblemError


def key(name, secret, *scopes, tenant=""):
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return ApiKey(name=name, sha256=digest, scopes=frozenset(scopes), tenant=tenant)


KEYS = Authenticator([key("ann", "secret-a", Scope.SUBMIT, tenant="a"), key("bob", "secret-b", Scope.READ_ALL, tenant="b")])


def test_without_keys_everybody_is_the_local_user():
    open_door = Authenticator()
    assert not open_door.required
    assert open_door.caller(None) is ANONYMOUS
    assert open_door.caller("Bearer whatever") is ANONYMOUS
    assert ANONYMOUS.sees("any tenant")


def test_a_key_tells_who_calls():
    assert KEYS.required
    assert KEYS.caller("Bearer secret-a") == Caller(name="ann", tenant="a", scopes=frozenset({Scope.SUBMIT}))
    assert KEYS.caller("bearer  secret-b ").name == "bob"


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic secret-a", "secret-a", "Bearer secret-c", "Bearer \udcff", "Bearer é"]
)
def test_anything_else_is_refused_without_quoting_it(header):
    with pytest.raises(CrossdockError) as caught:
        KEYS.caller(header)
    assert caught.value.code is Code.UNAUTHORIZED
    assert "secret" not in caught.value.message


def test_the_digest_of_a_key_is_no_key():
    with pytest.raises(CrossdockError):
        KEYS.caller("Bearer " + hashlib.sha256(b"secret-a").hexdigest())


def test_who_sees_whose_jobs():
    ann, bob = KEYS.caller("Bearer secret-a"), KEYS.caller("Bearer secret-b")
    assert ann.sees("a")
    assert not ann.sees("b")
    assert bob.sees("a")
    assert not Caller(name="worker", tenant="a", scopes=frozenset({Scope.WORK})).sees("a")


def test_reading_all_is_no_right_to_change_all():
    bob = KEYS.caller("Bearer secret-b")
    bob.require_own("b")
    with pytest.raises(ProblemError) as caught:
        bob.require_own("a")
    assert caught.value.status == 403
    Caller(name="root", scopes=frozenset({Scope.ADMIN})).require_own("a")


@pytest.mark.parametrize("scope", list(Scope))
def test_scopes(scope):
    Caller(name="x", scopes=frozenset({scope})).require(scope)
    Caller(name="x", scopes=frozenset({Scope.ADMIN})).require(scope)
    with pytest.raises(ProblemError) as caught:
        Caller(name="x", scopes=frozenset()).require(scope)
    assert caught.value.status == 403


def test_digests_are_checked_at_the_start():
    with pytest.raises(CrossdockError, match="sha256"):
        Authenticator([ApiKey(name="x", sha256="abc")])
    twice = key("x", "secret-x")
    with pytest.raises(CrossdockError, match="same"):
        Authenticator([twice, twice])


def test_new_keys_work_and_differ():
    secret, digest = new_key()
    assert Authenticator([ApiKey(name="x", sha256=digest)]).caller(f"Bearer {secret}").name == "x"
    assert new_key()[0] != secret
