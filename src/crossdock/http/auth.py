"""Who is calling: API keys, kept as SHA-256 digests, and what their owners may do."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct, field

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.problems import ProblemError

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Scope(StrEnum):
    """What a caller may do."""

    SUBMIT = "submit"
    READ_OWN = "read-own"
    READ_ALL = "read-all"
    WORK = "work"
    ADMIN = "admin"


ALL_SCOPES: Final = frozenset(Scope)


class ApiKey(Struct, frozen=True, kw_only=True):
    """One entry of ``[[security.keys]]``: the SHA-256 digest of a key (hexadecimal), and what its owner may do."""

    name: str
    sha256: str = field(default="")
    scopes: frozenset[Scope] = frozenset({Scope.SUBMIT, Scope.READ_OWN})
    tenant: str = ""


class Caller(Struct, frozen=True, kw_only=True):
    """Who sent a request. ``tenant`` owns the jobs that are submitted."""

    name: str
    tenant: str = ""
    scopes: frozenset[Scope] = ALL_SCOPES

    def require(self, scope: Scope) -> None:
        """Refuse the request unless the caller has this scope (administrators have all).

        Raises:
            ProblemError: ``unauthorized`` with status 403.
        """
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
            raise ProblemError(Code.UNAUTHORIZED, f"the API key lacks the scope {scope.value!r}", status=403)

    def sees(self, tenant: str) -> bool:
        """Tell whether jobs of ``tenant`` exist for this caller; to others they answer as if they did not."""
        if self.reads_all:
            return True
        return tenant == self.tenant and not self.scopes.isdisjoint((Scope.READ_OWN, Scope.SUBMIT))

    def require_own(self, tenant: str) -> None:
        """Refuse the request unless what it changes is the caller's own: reading all is not a right to change all.

        Raises:
            ProblemError: ``unauthorized`` with status 403.
        """
        if tenant != self.tenant:
            self.require(Scope.ADMIN)

    @property
    def reads_all(self) -> bool:
        """Whether the caller may see the jobs of every tenant."""
        return not self.scopes.isdisjoint((Scope.READ_ALL, Scope.ADMIN))


ANONYMOUS: Final = Caller(name="anonymous")
"""Whoever can reach a server without keys, which listens on loopback only."""


class Authenticator:
    """Finds the caller of a request.

    Args:
        keys: the configured keys; with none, everybody is :data:`ANONYMOUS`.

    Raises:
        CrossdockError: ``invalid`` if a digest is malformed or given twice.
    """

    def __init__(self, keys: Sequence[ApiKey] = ()) -> None:
        self._keys = [(bytes.fromhex(_checked(key)), key) for key in keys]
        if len({digest for digest, _ in self._keys}) != len(self._keys):
            raise CrossdockError(Code.INVALID, "two API keys in [[security.keys]] have the same sha256")

    @property
    def required(self) -> bool:
        """Whether callers have to show a key."""
        return bool(self._keys)

    def caller(self, authorization: str | None) -> Caller:
        """Return who sent a request with this ``Authorization`` header.

        Raises:
            CrossdockError: ``unauthorized`` if a key is needed and this is none.
        """
        if not self._keys:
            return ANONYMOUS
        method, _, key = (authorization or "").partition(" ")
        if method.lower() != "bearer" or not key:
            raise CrossdockError(Code.UNAUTHORIZED, "an API key is needed: send Authorization: Bearer KEY")
        digest = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).digest()
        found: ApiKey | None = None
        # No early exit: the time of the answer should not tell which entry matched.
        for known, entry in self._keys:
            if hmac.compare_digest(known, digest):
                found = entry
        if found is None:
            raise CrossdockError(Code.UNAUTHORIZED, "this API key is not known here")
        return Caller(name=found.name, tenant=found.tenant, scopes=frozenset(found.scopes))


def new_key(prefix: str = "cd") -> tuple[str, str]:
    """Return a new random key and the digest to put into the configuration."""
    key = f"{prefix}_{secrets.token_urlsafe(24)}"
    return key, hashlib.sha256(key.encode()).hexdigest()


def _checked(key: ApiKey) -> str:
    digest = key.sha256.lower()
    if not _DIGEST.fullmatch(digest):
        raise CrossdockError(
            Code.INVALID, f"sha256 of the API key {key.name!r} must be the 64 hexadecimal digits of its SHA-256 digest"
        )
    return digest
