"""From a function's signature to the check of its payload: names, types and defaults become one pydantic validator.

Validation is strict in JSON's own terms: no number is read from a string, but a list may become a tuple and a string a
date, as JSON has neither.
"""

import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Annotated, Any, Final, NotRequired, cast, get_type_hints

import msgspec
from pydantic import ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError, to_jsonable_python
from typing_extensions import TypedDict

from crossdock.core.errors import Code, CrossdockError
from crossdock.runners.function.context import Context

_SHOWN_ERRORS: Final = 5
_TEXT_LIMIT: Final = 200


class Parameters:
    """What a function takes from a payload.

    ``schema`` is the JSON Schema of the payload, ``takes_context`` tells whether the first argument is a Context.

    Args:
        function: the function.
        raw: whether it takes the payload as it is.
        needs: members that are put into the payload once the job runs; clients leave them out.
    """

    def __init__(self, function: Callable[..., object], raw: bool, needs: Collection[str] = ()) -> None:
        declared = list(inspect.signature(function).parameters.values())
        hints = _type_hints(function)
        self.takes_context = bool(declared) and _is_context(declared[0], hints)
        self._fields = declared[1:] if self.takes_context else declared
        self._raw = _only_name(function, self._fields) if raw else None
        self._function = function.__name__
        self._adapter = self._checker = self._adapter_for(function, hints, self._fields)
        if needs:
            _refuse_strangers(function, needs, self._fields, raw=raw)
            asked = [field for field in self._fields if field.name not in needs]
            self._checker = self._adapter_for(function, hints, asked)
        self._asked = [field.name for field in self._fields if field.name not in needs]
        self.schema = self._checker.json_schema()

    def _adapter_for(
        self, function: Callable[..., object], hints: dict[str, Any], fields: list[inspect.Parameter]
    ) -> TypeAdapter[Any]:
        annotation: Any = hints.get(self._raw, object) if self._raw else _members(function, fields, hints)
        try:
            adapter = TypeAdapter[Any](annotation)
            adapter.json_schema()
        except PydanticUserError as error:
            raise TypeError(f"a parameter of {function.__name__} has a type that JSON cannot carry: {error}") from error
        return adapter

    def bind(self, payload: bytes) -> dict[str, Any]:
        """Return the arguments by name that a complete payload (JSON text) stands for.

        Raises:
            CrossdockError: ``invalid``, naming each member that is wrong, missing or unknown.
        """
        value = self._validated(payload, self._adapter)
        return value if self._raw is None else {self._raw: value}

    def check(self, payload: bytes) -> None:
        """Raise what :meth:`bind` would raise, of a payload without what the function needs of other kinds."""
        self._validated(payload, self._checker)

    def _validated(self, payload: bytes, adapter: TypeAdapter[Any]) -> Any:
        _refuse_constants(payload)
        try:
            return adapter.validate_json(payload, strict=True)
        except ValidationError as error:
            raise CrossdockError(Code.INVALID, self._complaint(error)) from None

    def _complaint(self, error: ValidationError) -> str:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        texts = [self._explain(detail) for detail in details[:_SHOWN_ERRORS]]
        if len(details) > _SHOWN_ERRORS:
            texts.append(f"and {len(details) - _SHOWN_ERRORS} more")
        return "the payload does not fit: " + "; ".join(texts)

    def _explain(self, detail: ErrorDetails) -> str:
        place = ".".join(str(step) for step in detail["loc"])[:_TEXT_LIMIT]
        if detail["type"] == "json_invalid" or not place:
            return detail["msg"][:_TEXT_LIMIT]
        if detail["type"] == "missing":
            return f"{place} is missing"
        if detail["type"] == "extra_forbidden":
            expected = ", ".join(self._asked) or "no members"
            return f"{place} is unknown" + (f" (expected: {expected})" if len(detail["loc"]) == 1 else "")
        return f"{place}: {detail['msg'][:_TEXT_LIMIT]}"


def result_schema(function: Callable[..., object]) -> dict[str, object]:
    """Return the JSON Schema of what a function is annotated to return, empty if there is none to be had."""
    annotation = _type_hints(function).get("return", inspect.Signature.empty)
    if annotation is inspect.Signature.empty:
        return {}
    try:
        return TypeAdapter[Any](annotation).json_schema(mode="serialization")
    except PydanticUserError:
        return {}


def _type_hints(function: Callable[..., object]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"an annotation of {function.__name__} cannot be resolved: {error}; define it in the module"
        ) from error


def _is_context(parameter: inspect.Parameter, hints: dict[str, Any]) -> bool:
    hint = hints.get(parameter.name)
    return parameter.name == "ctx" if hint is None else hint is Context


def _only_name(function: Callable[..., object], parameters: list[inspect.Parameter]) -> str:
    if len(parameters) != 1:
        raise TypeError(f"{function.__name__} is raw, so it takes exactly one parameter besides the context: the payload")
    _refuse_nameless(function, parameters)
    return parameters[0].name


def _refuse_nameless(function: Callable[..., object], parameters: Iterable[inspect.Parameter]) -> None:
    for parameter in parameters:
        if parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL):
            raise TypeError(f"{function.__name__}: {parameter} has no name in a payload; use ordinary parameters")


def _refuse_strangers(
    function: Callable[..., object], needs: Iterable[str], fields: Iterable[inspect.Parameter], *, raw: bool
) -> None:
    if raw:
        raise TypeError(f"{function.__name__} is raw, so nothing can be put into its payload: it cannot have needs")
    names = [field.name for field in fields if field.kind is not inspect.Parameter.VAR_KEYWORD]
    for need in needs:
        if need not in names:
            raise TypeError(f"{function.__name__} needs {need!r}, which is none of its parameters ({', '.join(names)})")


def _members(function: Callable[..., object], parameters: list[inspect.Parameter], hints: dict[str, Any]) -> object:
    """Return a typed dictionary: unlike a model, it allows any parameter name and leaves defaults to the function."""
    _refuse_nameless(function, parameters)
    named = [parameter for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    extra = "forbid" if len(named) == len(parameters) else "allow"
    fields = {parameter.name: _field(parameter, hints.get(parameter.name, Any)) for parameter in named}
    # The functional form, as the fields are known only now.
    members: Any = cast("Callable[[str, dict[str, Any]], type]", TypedDict)(function.__name__, fields)
    members.__pydantic_config__ = ConfigDict(extra=extra, allow_inf_nan=False)
    return members


def _field(parameter: inspect.Parameter, hint: Any) -> Any:
    if parameter.default is inspect.Parameter.empty:
        return hint
    try:
        default = to_jsonable_python(parameter.default)
    except (PydanticSerializationError, TypeError, ValueError):
        return NotRequired[hint]
    return NotRequired[Annotated[hint, Field(json_schema_extra={"default": default})]]


def _refuse_constants(payload: bytes) -> None:
    """Refuse what Python's JSON has and JSON has not; pydantic lets it through."""
    if b"NaN" not in payload and b"Infinity" not in payload:
        return
    try:
        msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CrossdockError(Code.INVALID, f"the payload is not JSON: {str(error)[:_TEXT_LIMIT]}") from None
