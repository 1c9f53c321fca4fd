"""The API's own description: our message types as JSON Schemas in the OpenAPI document that FastAPI generates."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from fastapi import FastAPI

from crossdock.core.jobs import ArtifactRef, Outcome
from crossdock.core.requests import Note, Renewal, Verdict
from crossdock.protocols.ogc import link_messages, messages

_TEMPLATE: Final = "#/components/schemas/{name}"

_MODULES: Final = (messages, link_messages)
_TYPES: Final = [
    *(
        each
        for module in _MODULES
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, msgspec.Struct) and each.__module__ == module.__name__
    ),
    Note,
    Renewal,
    Verdict,
    Outcome,
    ArtifactRef,
]
_PROBLEM: Final = {"$ref": _TEMPLATE.format(name="Problem")}


def described(
    summary: str,
    *,
    body: type[msgspec.Struct] | None = None,
    answers: Mapping[int, type[msgspec.Struct] | str] | None = None,
    errors: tuple[int, ...] = (),
) -> dict[str, Any]:
    """Return the arguments of a route decorator that describe the route.

    Args:
        summary: what the operation does.
        body: the type of the request's body.
        answers: per status the type of the answer, or a text for answers that are not one of our messages.
        errors: the statuses of problem documents beyond 401 and 503, which are possible everywhere.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    for status, content in (answers or {}).items():
        responses[status] = {"description": content if isinstance(content, str) else (content.__doc__ or "").strip()}
        if not isinstance(content, str):
            responses[status]["content"] = {"application/json": {"schema": _reference(content)}}
    for status in (*errors, 401, 503):
        content_type = {"application/problem+json": {"schema": _PROBLEM}}
        responses[status] = {"description": "what is wrong and what to do about it", "content": content_type}
    extra: dict[str, Any] = {}
    if body is not None:
        extra["requestBody"] = {"required": True, "content": {"application/json": {"schema": _reference(body)}}}
    return {"summary": summary, "responses": responses, "openapi_extra": extra, "response_model": None}


def publish_schemas(app: FastAPI) -> None:
    """Make the application's OpenAPI document contain the schemas that :func:`described` refers to."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            _, schemas = msgspec.json.schema_components(_TYPES, schema_hook=_anything, ref_template=_TEMPLATE)
            components = document.setdefault("components", {})
            components.setdefault("schemas", {}).update(schemas)
            components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{}, {"key": []}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi


def _anything(kind: type) -> dict[str, Any]:
    if kind is object:
        return {"description": "any JSON value"}
    raise NotImplementedError(kind)


def _reference(message: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": _TEMPLATE.format(name=message.__name__)}
