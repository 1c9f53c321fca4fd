"""YAML as job configurations are written: every scalar stays the text it was, and what it means depends on who asks.

Quoted or not makes no difference: ``log: "true"`` is a boolean. Aliases count with all that they stand for, so that a page
of them does not become a gigabyte.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml
from msgspec import Struct

_BYTES: Final = 4 << 20
_NODES: Final = 200_000
_DEPTH: Final = 50
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset(form for word in ("y", "yes", "true", "on") for form in (word, word.capitalize(), word.upper()))
_FALSE: Final = frozenset(form for word in ("n", "no", "false", "off") for form in (word, word.capitalize(), word.upper()))
_INTEGER: Final = re.compile(r"\s*([+-]?)(0[xX][0-9a-fA-F]{1,16}|[0-9]{1,19})\s*")
_NUMBER: Final = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\s*")


class NotYaml(ValueError):
    """A text is no YAML, or more of it than a configuration needs."""


class WrongShape(ValueError):
    """A document is YAML, but something in it is missing or not of the kind it has to be."""


class Scalar(Struct, frozen=True):
    """A scalar: its text, and whether it stands for nothing."""

    text: str
    null: bool = False


Node = Scalar | list["Node"] | dict[str, "Node"]


class _Open:
    """A collection that is being read."""

    def __init__(self, value: list[Node] | dict[str, Node], anchor: str | None) -> None:
        self.value = value
        self.anchor = anchor
        self.weight = 1
        self.key: str | None = None


def parse(text: bytes, size: int = _BYTES, nodes: int = _NODES, *, nul: bool = False) -> Node:
    """Return the first document of a text.

    Args:
        text: YAML.
        size: the most bytes that it may have.
        nodes: the most maps, lists, keys and scalars; what an alias stands for counts again.
        nul: whether texts may have a NUL: output of programs may, what becomes an argument or a path may not.

    Raises:
        NotYaml: it is none, or it is too large, too deep or refers to too much.
        WrongShape: a text has a NUL that it may not have.
    """
    if len(text) > size:
        raise NotYaml(f"it has more than {size} bytes")
    try:
        return _Builder(nodes, nul=nul).build(_events(text))
    except (yaml.YAMLError, UnicodeError) as error:
        raise NotYaml(str(error)) from error


def _events(text: bytes) -> Iterator[Any]:
    loader = _LOADER(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


class _Builder:
    """Makes nodes of events, without recursion: depth is the writer's choice."""

    def __init__(self, nodes: int, *, nul: bool) -> None:
        self._most = nodes
        self._nul = nul
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._root: Node | None = None

    def build(self, events: Iterator[Any]) -> Node:
        for event in events:
            if isinstance(event, yaml.ScalarEvent):
                plain = bool(event.implicit[0]) and not event.style
                value = str(event.value)
                if "\0" in value and not self._nul:
                    raise WrongShape("a text in it has a NUL")
                self._place(Scalar(value, plain and value in _NULL), event.anchor, 1)
            elif isinstance(event, yaml.AliasEvent):
                self._place_alias(str(event.anchor))
            elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
                self._begin([] if isinstance(event, yaml.SequenceStartEvent) else {}, event.anchor)
            elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
                ended = self._open.pop()
                self._place(ended.value, ended.anchor, ended.weight)
            if self._root is not None:
                return self._root
        raise NotYaml("it is empty")

    def _begin(self, value: list[Node] | dict[str, Node], anchor: str | None) -> None:
        if len(self._open) >= _DEPTH:
            raise NotYaml(f"it is nested more than {_DEPTH} times")
        self._open.append(_Open(value, anchor))

    def _place_alias(self, anchor: str) -> None:
        if anchor not in self._anchors:
            raise NotYaml(f"it refers to {anchor[:80]!r}, which is not there")
        node, weight = self._anchors[anchor]
        self._place(node, None, weight)

    def _place(self, node: Node, anchor: str | None, weight: int) -> None:
        if weight > self._most:
            raise NotYaml(f"it has more than {self._most} nodes")
        if anchor is not None:
            self._anchors[anchor] = (node, weight)
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        parent.weight += weight
        if parent.weight > self._most:
            raise NotYaml(f"it has more than {self._most} nodes")
        if isinstance(parent.value, list):
            parent.value.append(node)
        elif parent.key is None:
            if not isinstance(node, Scalar):
                raise NotYaml("a key is not a text")
            parent.key = node.text
        else:
            parent.value.setdefault(parent.key, node)  # of a key that is there twice, the first counts
            parent.key = None


class Fields:
    """A map, read member by member. ``place`` says for people where it stands."""

    def __init__(self, node: Node, place: str) -> None:
        if not isinstance(node, dict):
            raise WrongShape(f"{place} is not a map")
        self._members: Mapping[str, Node] = node
        self.place = place

    def has(self, key: str) -> bool:
        """Tell whether a member is there and not null."""
        return self._get(key) is not None

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text. Without a default it has to be there and not to be empty; raises :class:`WrongShape`."""
        node = self._get(key)
        if node is None and default is not None:
            return default
        found = "" if node is None else self._scalar(key, node)
        if not found and default is None:
            raise WrongShape(f"{self.place} has no {key}")
        return found

    def boolean(self, key: str) -> bool:
        """Return a boolean, false if it is not there. Raises :class:`WrongShape`."""
        node = self._get(key)
        if node is None:
            return False
        text = self._scalar(key, node)
        if text not in _TRUE | _FALSE:
            raise WrongShape(f"{key} of {self.place} is neither true nor false")
        return text in _TRUE

    def integer(self, key: str) -> int | None:
        """Return a number that is not negative. Raises :class:`WrongShape`."""
        node = self._get(key)
        if node is None:
            return None
        number = integer(self._scalar(key, node))
        if number is None or number < 0:
            raise WrongShape(f"{key} of {self.place} is no whole number from 0 on")
        return number

    def number(self, key: str) -> float | None:
        """Return a number that is not negative, maybe a fraction. Raises :class:`WrongShape`."""
        node = self._get(key)
        if node is None:
            return None
        text = self._scalar(key, node)
        if not _NUMBER.fullmatch(text) or float(text) < 0 or float(text) == float("inf"):
            raise WrongShape(f"{key} of {self.place} is no number from 0 on")
        return float(text)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, none if it is not there. Raises :class:`WrongShape`."""
        return tuple(self._scalar(key, node) for node in self.nodes(key))

    def mapping(self, key: str) -> dict[str, str]:
        """Return a map of texts, empty if it is not there. Raises :class:`WrongShape`."""
        node = self._get(key)
        if node is None:
            return {}
        inner = Fields(node, f"{key} of {self.place}")
        return {
            name: "" if isinstance(item, Scalar) and item.null else inner._scalar(name, item)
            for name, item in inner._members.items()
        }

    def fields(self, key: str) -> "Fields | None":
        """Return a map, None if it is not there. Raises :class:`WrongShape`."""
        node = self._get(key)
        return None if node is None else Fields(node, f"{key} of {self.place}")

    def each(self, key: str) -> Iterator["Fields"]:
        """Yield the maps of a list. Raises :class:`WrongShape`."""
        for index, node in enumerate(self.nodes(key)):
            yield Fields(node, f"{key}[{index}] of {self.place}")

    def nodes(self, key: str) -> list[Node]:
        """Return the nodes of a list, none if it is not there. Raises :class:`WrongShape`."""
        node = self._get(key)
        if node is None:
            return []
        if not isinstance(node, list):
            raise WrongShape(f"{key} of {self.place} is not a list")
        return node

    def node(self, key: str) -> Node | None:
        """Return whatever is there."""
        return self._get(key)

    def _get(self, key: str) -> Node | None:
        node = self._members.get(key)
        return None if isinstance(node, Scalar) and node.null else node

    def _scalar(self, key: str, node: Node) -> str:
        if not isinstance(node, Scalar):
            raise WrongShape(f"{key} of {self.place} is not a text")
        return node.text


def integer(text: str) -> int | None:
    """Return the whole number that a text is, written as in C (so 010 is 8), None if it is none."""
    found = _INTEGER.fullmatch(text)
    if found is None:
        return None
    sign, digits = found.groups()
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xX"
    try:
        number = int(digits, 8) if octal else int(digits, 0)
    except ValueError:
        return None
    return -number if sign == "-" else number
