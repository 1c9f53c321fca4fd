"""From a tree of values to a :class:`Config`: every problem is found, and each says where it is and what would be right."""

import difflib
import tomllib
from collections.abc import Iterable
from types import UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec

from crossdock.config.lines import KeyPath
from crossdock.config.schema import LATER, Config
from crossdock.config.section import Section
from crossdock.config.sources import ConfigError, Problem, Settings, Text
from crossdock.config.units import parse_quantity

_S = TypeVar("_S", bound=Section)
_Field = tuple[Any, msgspec.Meta | None]


_PLAIN_WORDS: Final = {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "array": "list"}


def fields(section: type[Section]) -> dict[str, _Field]:
    """Return the keys of a table: for each its type without description, and the description (None: a table in it)."""
    hints = get_type_hints(section, include_extras=True)
    return {name: _described(hints[name]) for name in section.__struct_fields__}


def build(settings: Settings) -> Config:
    """Make the configuration.

    Raises:
        ConfigError: with every problem there is.
    """
    builder = _Builder(settings)
    config = builder.section(Config, settings.tree, ())
    if builder.problems or config is None:
        raise ConfigError(builder.problems)
    return config


class _Builder:
    """Walks values and definitions together; a value that is wrong becomes a problem and counts as not given."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.problems: list[Problem] = []

    def section(self, kind: type[_S], value: object, path: KeyPath) -> _S | None:
        if isinstance(value, Text):
            value = self._parsed(value, path)
        table = _table(value)
        if table is None:
            return self._problem(path, f"expected a table, got {_show(value)}")
        known = fields(kind)
        given: dict[str, Any] = {}
        before = len(self.problems)
        for name, inner in table.items():
            if name in known:
                given[name] = self._value(known[name], inner, (*path, name))
            else:
                self._unknown((*path, name), known)
        missing = [f.name for f in msgspec.structs.fields(kind) if f.required and f.name not in given]
        for name in missing:
            self._problem(path, f"the key {name} is missing: {_meaning(known[name][1])}")
        return kind(**given) if len(self.problems) == before else None

    def _value(self, field: _Field, value: object, path: KeyPath) -> object:
        kind, meta = field
        if inner := _section(kind):
            return self.section(inner, value, path)
        if get_origin(kind) is dict:
            inner_kind, inner_meta = _described(get_args(kind)[1])
            return self._named((inner_kind, inner_meta or meta), value, path)
        if get_origin(kind) is tuple and (inner := _section(get_args(kind)[0])):
            return self._listed(inner, value, path)
        return self._leaf(kind, meta, value, path)

    def _named(self, field: _Field, value: object, path: KeyPath) -> object:
        if isinstance(value, Text):
            value = self._parsed(value, path)
        named = _table(value)
        if named is None:
            return self._problem(path, f"expected a table, got {_show(value)}")
        return {name: self._value(field, inner, (*path, name)) for name, inner in named.items()}

    def _listed(self, kind: type[Section], value: object, path: KeyPath) -> object:
        if isinstance(value, Text):
            value = self._parsed(value, path)
        if not isinstance(value, list):
            return self._problem(path, f"expected a list of tables ([[{'.'.join(path)}]]), got {_show(value)}")
        listed = cast("list[object]", value)
        return tuple(self.section(kind, inner, (*path, str(index))) for index, inner in enumerate(listed))

    def _leaf(self, kind: Any, meta: msgspec.Meta | None, value: object, path: KeyPath) -> object:
        try:
            return msgspec.convert(_readable(kind, meta, value), Annotated[kind, meta] if meta else kind)
        except (msgspec.ValidationError, ValueError) as error:
            shown = "something else" if _extra(meta, "secret") else _show(value)
            return self._problem(path, f"{_plain(kind, value, shown, error)} ({_meaning(meta)})")

    def _parsed(self, text: Text, path: KeyPath) -> object:
        try:
            return _toml(text)
        except ValueError:
            return self._problem(path, f"expected a TOML value, got {_show(text)}")

    def _unknown(self, path: KeyPath, known: Iterable[str]) -> None:
        name = ".".join(path)
        if name in LATER:
            self._problem(path, f"[{name}] comes with the {LATER[name]} release; this one does not have it yet")
            return
        close = difflib.get_close_matches(path[-1], list(known), n=1)
        hint = f"did you mean {'.'.join((*path[:-1], close[0]))}?" if close else f"known here: {', '.join(known)}"
        self._problem(path, f"unknown key, {hint}", name)

    def _problem(self, path: KeyPath, text: str, name: str = "") -> None:
        self.problems.append(Problem(self._settings.origin(path), f"{name or '.'.join(path)}: {text}"))


def _described(hint: Any) -> _Field:
    if get_origin(hint) is not Annotated:
        return hint, None
    kind, *metas = get_args(hint)
    return kind, next(meta for meta in metas if isinstance(meta, msgspec.Meta))


def _section(kind: Any) -> type[Section] | None:
    """Return the table that a type means, also if it may be missing."""
    for one in get_args(kind) if get_origin(kind) is UnionType else (kind,):
        if isinstance(one, type) and issubclass(one, Section):
            return one
    return None


def _table(value: object) -> dict[str, object] | None:
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _readable(kind: Any, meta: msgspec.Meta | None, value: object) -> object:
    """Bring a value into the form its type wants: texts of the environment are read, units are multiplied."""
    unit = _extra(meta, "unit")
    if unit and isinstance(value, str):
        number = parse_quantity(value, unit)
        return int(number) if kind is int else number
    if not isinstance(value, Text) or kind is str or get_origin(kind) is Literal:
        return str(value) if isinstance(value, Text) else value
    if get_origin(kind) is tuple and not value.lstrip().startswith("["):
        return [part.strip() for part in value.split(",") if part.strip()]
    return _toml(value)


def _toml(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return str(text)


def _plain(kind: Any, value: object, shown: str, error: Exception) -> str:
    if get_origin(kind) is Literal:
        choices = [str(choice) for choice in get_args(kind)]
        close = difflib.get_close_matches(str(value).upper(), [c.upper() for c in choices], n=1)
        hint = f", did you mean {choices[[c.upper() for c in choices].index(close[0])]}?" if close else ""
        return f"expected one of {', '.join(choices)}, got {shown}{hint}"
    if not isinstance(error, msgspec.ValidationError):
        return str(error)
    text = str(error).partition(" - at ")[0].partition(", got")[0]
    for word, plain in _PLAIN_WORDS.items():
        text = text.replace(f"`{word}`", plain)
    return f"{text[:1].lower()}{text[1:]}, got {shown}"


def _extra(meta: msgspec.Meta | None, name: str) -> Any:
    return (meta.extra or {}).get(name) if meta else None


def _meaning(meta: msgspec.Meta | None) -> str:
    return (meta.description or "").rstrip(".") if meta else "a table"


def _show(value: object) -> str:
    return repr(str(value) if isinstance(value, Text) else value)[:60]


def type_name(kind: Any) -> str:
    """Return the type of a key in words for the reference."""
    if get_origin(kind) is Literal:
        return " or ".join(f'"{choice}"' for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return f"list of {type_name(_described(get_args(kind)[0])[0])}"
    if get_origin(kind) is dict and _section(get_args(kind)[1]):
        return "tables by name"
    if get_origin(kind) is dict:
        return f"table of {type_name(_described(get_args(kind)[1])[0])}"
    return _PLAIN_WORDS.get(kind.__name__, "table")
