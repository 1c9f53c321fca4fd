"""Results as JSON text, with the same liberties for every function.

Dataclasses, pydantic models, msgspec structs, dates, decimals, enumerations, paths, sets, generators and whatever has a
``tolist`` (arrays of numpy) are written. NaN and the infinities become the strings "NaN", "Infinity" and "-Infinity", as
quick_server has it: JSON has no numbers for them, and browsers refuse the bare words. Bytes are written in base 64.
"""

from collections.abc import Callable
from typing import cast

import msgspec
from pydantic_core import to_json


class NotJson(TypeError):
    """A value has no JSON form."""


def encode(value: object) -> bytes:
    """Return the JSON text of a result.

    Raises:
        NotJson: if there is none; the message names the type in the way.
    """
    try:
        return to_json(value, inf_nan_mode="strings", bytes_mode="base64", fallback=_convert)
    except NotJson:
        raise
    except Exception as error:
        raise NotJson(_reason(error)) from error


def _convert(value: object) -> object:
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    tolist = getattr(value, "tolist", None)
    if callable(tolist):
        return cast("Callable[[], object]", tolist)()
    raise NotJson(f"a {type(value).__module__}.{type(value).__qualname__} has no JSON form")


def _reason(error: Exception) -> str:
    text = str(error)
    if "has no JSON form" in text:
        return text[text.rfind("NotJson: ") + len("NotJson: ") :] if "NotJson: " in text else text
    return f"the result cannot be written as JSON: {text[:300]}"
