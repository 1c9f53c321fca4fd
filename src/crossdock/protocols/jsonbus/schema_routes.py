"""The schemas over HTTP, for everybody: ``GET /schemas/jsonbus/`` and ``GET /schemas/jsonbus/NAME.json``."""

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.problems import problem_response
from crossdock.protocols.jsonbus.schemas import PATH, SCHEMAS

_HEADERS: Final = {"cache-control": "public, max-age=3600", "access-control-allow-origin": "*"}
_INDEX: Final = msgspec.json.encode({"schemas": [{"title": name, "href": f"{PATH}/{name}.json"} for name in SCHEMAS]})
_TEXTS: Final = {name: msgspec.json.format(msgspec.json.encode(schema), indent=2) for name, schema in SCHEMAS.items()}


def routes() -> list[BaseRoute]:
    """Return the routes of the schemas, for any Starlette or FastAPI application. They ask for no API key."""
    return [
        Route(PATH, _index, include_in_schema=False),
        Route(f"{PATH}/", _index, include_in_schema=False),
        Route(f"{PATH}/{{name}}", _schema, include_in_schema=False),
    ]


async def _index(_: Request) -> Response:
    return Response(_INDEX, headers=_HEADERS, media_type="application/json")


async def _schema(request: Request) -> Response:
    name: str = request.path_params["name"]
    text = _TEXTS.get(name.removesuffix(".json"))
    if text is None:
        there = ", ".join(f"{name}.json" for name in SCHEMAS)
        return problem_response(CrossdockError(Code.NOT_FOUND, f"there is no such schema; there are {there}"))
    return Response(text, headers=_HEADERS, media_type="application/schema+json")
