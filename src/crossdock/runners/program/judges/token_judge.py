#!/usr/bin/python3 -IS
"""Compares two files token by token.

    recodex-token-judge [OPTION…] EXPECTED ACTUAL

Tokens are what stands between white space. Exit status 0 and "1" on standard output: the files are alike; 1 and "0": they
are not, and standard error says where; 2: they could not be compared, and standard error says why.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence

USAGE = """usage: recodex-token-judge [OPTION...] EXPECTED ACTUAL
  --ignore-empty-lines          lines without tokens are not there
  --ignore-trailing-whitespace  white space at the end of a file is not there
  --ignore-line-ends            the end of a line is white space like any other
  --allow-comments              a line ends where a token would begin with '#'
  --case-insensitive            ASCII letters are compared without regard to case
  --numeric                     tokens that are numbers are compared as numbers
  --float-tolerance NUMBER      largest relative error of a number, 0 to 1 (0.0001)
  --shuffled-tokens             tokens of a line may have any order
  --shuffled-lines              lines may have any order
  --log-limit BYTES             the most that is said about differences; k, M, G multiply by 1024
"""
SWITCHES = (
    "ignore-empty-lines",
    "ignore-trailing-whitespace",
    "ignore-line-ends",
    "allow-comments",
    "case-insensitive",
    "numeric",
    "shuffled-tokens",
    "shuffled-lines",
)
EXCLUSIVE = (("ignore-empty-lines", "ignore-line-ends"), ("shuffled-lines", "ignore-line-ends"))
UNITS = {"k": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
LONGEST_NUMBER = 32
SMALLEST_DIVISOR = 0.0001
SHOWN = 80
MANY = 1 << 62
PAIRS = 4_000_000
"""Pairs of lines that are compared at most when their order does not matter."""

Line = tuple[int, list[bytes]]


class Misuse(Exception):
    """The command line makes no sense."""


class Options:
    """What the command line asks for."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.on: set[str] = set()
        self.tolerance = 0.0001
        self.log_limit = MANY
        self.files: list[str] = []
        rest = iter(arguments)
        for argument in rest:
            if not argument.startswith("-") or argument == "-":
                self.files.append(argument)
                continue
            name, equals, value = argument.lstrip("-").partition("=")
            if name in SWITCHES and not equals:
                self.on.add(name)
            elif name in ("float-tolerance", "log-limit"):
                self._set(name, value if equals else next(rest, ""))
            else:
                raise Misuse(f"unknown option {argument}")
        self._check()

    def _set(self, name: str, value: str) -> None:
        try:
            if name == "float-tolerance":
                self.tolerance = float(value)
            else:
                unit = UNITS.get(value[-1:], 1)
                self.log_limit = int(value[:-1] if unit > 1 else value) * unit
        except ValueError:
            raise Misuse(f"{name} needs a number, not {value!r}") from None

    def _check(self) -> None:
        if not 0 <= self.tolerance <= 1:
            raise Misuse("float-tolerance is a number from 0 to 1")
        if self.log_limit < 0:
            raise Misuse("log-limit is not negative")
        for one, other in EXCLUSIVE:
            if {one, other} <= self.on:
                raise Misuse(f"{one} excludes {other}")
        if len(self.files) != 2:  # noqa: PLR2004 - expected and actual
            raise Misuse("two files are needed")


class Log:
    """What differs, as far as there is room."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    @property
    def full(self) -> bool:
        """Whether nothing more will be shown."""
        return self._left <= 0

    def say(self, text: str) -> None:
        """Write a line, or what there is room for."""
        line = f"{text}\n".encode("utf-8", "backslashreplace")[: self._left]
        self._left -= len(line)
        sys.stderr.buffer.write(line)


class Comparison:
    """Compares tokens and lines in the way that was asked for."""

    def __init__(self, options: Options) -> None:
        self._numeric = "numeric" in options.on
        self._fold = "case-insensitive" in options.on
        self._shuffled = "shuffled-tokens" in options.on
        self._tolerance = options.tolerance

    def tokens(self, expected: bytes, actual: bytes) -> bool:
        """Tell whether two tokens are alike."""
        if expected == actual:
            return True
        if self._numeric and len(expected) < LONGEST_NUMBER and len(actual) < LONGEST_NUMBER:
            one, other = number(expected), number(actual)
            if one is not None and other is not None:
                return self._numbers(one, other)
        return self._fold and expected.lower() == actual.lower()

    def key(self, line: Line) -> tuple[bytes, ...]:
        """Return what is equal for lines that are alike, but for numbers."""
        tokens = [token.lower() for token in line[1]] if self._fold else line[1]
        return tuple(sorted(tokens) if self._shuffled else tokens)

    def lines(self, expected: list[bytes], actual: list[bytes]) -> bool:
        """Tell whether two lines are alike."""
        if expected == actual:
            return True
        if len(expected) != len(actual):
            return False
        if self._shuffled:
            return not any(self.differences(expected, actual))
        return all(map(self.tokens, expected, actual))

    def differences(self, expected: list[bytes], actual: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Return the tokens that are missing from a line of which the order does not matter, and those that are too many."""
        missing, superfluous = self._cancel(expected, actual)
        if not self._numeric or not missing or not superfluous:
            return missing, superfluous
        return self._pair_numbers(missing, superfluous)

    def _numbers(self, one: float, other: float) -> bool:
        if isinstance(one, int) and isinstance(other, int):
            return one == other
        divisor = max(abs(one) + abs(other), self._tolerance, SMALLEST_DIVISOR)
        return abs(one - other) / divisor <= self._tolerance

    def _cancel(self, expected: list[bytes], actual: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        if self._fold:
            expected, actual = [token.lower() for token in expected], [token.lower() for token in actual]
        here, there = Counter(expected), Counter(actual)
        return list((here - there).elements()), list((there - here).elements())

    def _pair_numbers(self, missing: list[bytes], superfluous: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Pair off numbers in order of size, which finds a pairing if there is one."""
        wanted = sorted((value, token) for token in missing if (value := number(token)) is not None)
        given = sorted((value, token) for token in superfluous if (value := number(token)) is not None)
        missing = [token for token in missing if number(token) is None]
        superfluous = [token for token in superfluous if number(token) is None]
        while wanted and given:
            if self._numbers(wanted[0][0], given[0][0]):
                wanted.pop(0)
                given.pop(0)
            elif wanted[0] < given[0]:
                missing.append(wanted.pop(0)[1])
            else:
                superfluous.append(given.pop(0)[1])
        return missing + [token for _, token in wanted], superfluous + [token for _, token in given]


def number(token: bytes) -> float | None:
    """Return the number that a token is, a whole one if it is written as one; None if it is none."""
    if b"_" in token:
        return None
    try:
        return int(token)
    except ValueError:
        pass
    try:
        value = float(token)
    except ValueError:
        return None
    return value if value == value and abs(value) != float("inf") else None  # noqa: PLR0124 - NaN


def read_lines(path: str, options: Options) -> Iterator[Line]:
    """Yield the lines of a file: number and tokens."""
    if "ignore-line-ends" in options.on:
        tokens = [token for _, line in _split(path, options) for token in line]
        if tokens:
            yield 1, tokens
        return
    for line, tokens in _split(path, options):
        if tokens or "ignore-empty-lines" not in options.on:
            yield line, tokens


def _split(path: str, options: Options) -> Iterator[Line]:
    comments = "allow-comments" in options.on
    trailing = "ignore-trailing-whitespace" in options.on
    blank: list[Line] = []
    with open(path, "rb") as file:  # noqa: PTH123 - a script that has to start fast
        for count, line in enumerate(file, 1):
            tokens = line.split()
            if comments and b"#" in line:
                commented = [index for index, token in enumerate(tokens) if token.startswith(b"#")]
                if commented:
                    tokens = tokens[: commented[0]]
                    if not tokens:
                        continue  # nothing but a comment: no line at all
            if trailing and not tokens:
                blank.append((count, tokens))
                continue
            yield from blank
            blank.clear()
            yield count, tokens


def compare(options: Options, log: Log) -> bool:
    """Compare the two files; say what differs."""
    comparison = Comparison(options)
    expected, actual = (read_lines(path, options) for path in options.files)
    if "shuffled-lines" in options.on:
        return compare_shuffled(list(expected), list(actual), comparison, log)
    same = True
    while not (log.full and not same):
        wanted, given = next(expected, None), next(actual, None)
        if wanted is None and given is None:
            break
        if wanted is None or given is None or not comparison.lines(wanted[1], given[1]):
            same = False
            explain(wanted, given, comparison, log, "shuffled-tokens" in options.on)
    return same


def compare_shuffled(expected: list[Line], actual: list[Line], comparison: Comparison, log: Log) -> bool:
    """Compare files of which the order of lines does not matter; say what differs."""
    missing = without(expected, Counter(map(comparison.key, actual)), comparison)
    rest = without(actual, Counter(map(comparison.key, expected)), comparison)
    if len(missing) * len(rest) <= PAIRS:
        for line in list(missing):
            match = next((other for other in rest if comparison.lines(line[1], other[1])), None)
            if match is not None:
                missing.remove(line)
                rest.remove(match)
    for sign, lines in (("-", missing), ("+", rest)):
        for count, tokens in lines:
            log.say(f"{sign}{count}: {shown(tokens)}")
    return not missing and not rest


def without(lines: list[Line], others: "Counter[tuple[bytes, ...]]", comparison: Comparison) -> list[Line]:
    """Return the lines that are left when each of the others has taken one that is the same."""
    left: list[Line] = []
    for line in lines:
        key = comparison.key(line)
        if others[key] > 0:
            others[key] -= 1
        else:
            left.append(line)
    return left


def explain(wanted: Line | None, given: Line | None, comparison: Comparison, log: Log, shuffled: bool) -> None:
    """Say how two lines differ."""
    if given is None and wanted is not None:
        log.say(f"-{wanted[0]}: {shown(wanted[1])}")
    elif wanted is None and given is not None:
        log.say(f"+{given[0]}: {shown(given[1])}")
    elif wanted is not None and given is not None and shuffled:
        missing, superfluous = comparison.differences(wanted[1], given[1])
        words = [f"missing {token!r}" for token in map(text, missing)]
        words += [f"unexpected {token!r}" for token in map(text, superfluous)]
        log.say(f"{given[0]}: {', '.join(words)}")
    elif wanted is not None and given is not None:
        pairs = zip(wanted[1], given[1], strict=False)
        place = next((i for i, pair in enumerate(pairs) if not comparison.tokens(*pair)), min(len(wanted[1]), len(given[1])))
        want = repr(text(wanted[1][place])) if place < len(wanted[1]) else "the end of the line"
        have = repr(text(given[1][place])) if place < len(given[1]) else "the end of the line"
        log.say(f"{given[0]}: token {place + 1} is {have}, expected {want}")


def shown(tokens: list[bytes]) -> str:
    """Return a line for people."""
    return " ".join(map(text, tokens[:SHOWN]))


def text(token: bytes) -> str:
    """Return a token for people."""
    return token[:SHOWN].decode("utf-8", "backslashreplace")


def main(arguments: Sequence[str]) -> int:
    """Compare; return the exit status."""
    try:
        options = Options(arguments)
    except Misuse as error:
        sys.stderr.write(f"Error: {error}\n\n{USAGE}")
        return 2
    try:
        same = compare(options, Log(options.log_limit))
    except OSError as error:
        sys.stdout.write("0\n")
        sys.stderr.write(f"Error: {error}\n")
        return 2
    sys.stdout.write("1\n" if same else "0\n")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
