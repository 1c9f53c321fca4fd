"""Checks what we agreed on about names and sizes. Prints one line per violation; status 1 if there is any.

Lengths are counted like this. A module's length is all of its lines. A function's length is its lines from ``def`` to the
end, without its docstring. A class's methods are all functions in its body, but those that a port of ``core/ports.py``
demands are not counted in a class that has all of that port's verbs. Code lines, used for the reading order, are lines
that hold anything else than a comment or a docstring.
"""

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

MODULE_LINES = 400
FUNCTION_LINES = 50
METHODS = 15
READING_ORDER = ("jobs", "lifecycle", "requests", "ports", "broker")
READING_LINES = 800
SIZED = ("src", "scripts", "examples", "bench")

BANNED_NAMES = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "manager",
    "base",
    "misc",
    "stuff",
    "mgr",
    "conf",
    "cfg",
    "impl",
}
# Formats that run code when they are read: never on bytes that crossed a wire, a pipe or a database.
BANNED_IMPORTS = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "jsonpickle", "dill", "cloudpickle"}
BANNED_CALLS = {"eval", "exec", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}

EXPORTING = {"__all__", "_HOMES", "__getattr__", "__dir__"}

Functions = (ast.FunctionDef, ast.AsyncFunctionDef)


def main() -> int:
    """Check the tree that this script is part of."""
    problems = list(check(Path(__file__).resolve().parents[1]))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def check(root: Path) -> Iterator[str]:
    """Yield one line per violation under ``root``."""
    ports = port_verbs(root / "src/crossdock/core/ports.py")
    for folder in SIZED:
        for path in sorted((root / folder).rglob("*.py")):
            place = str(path.relative_to(root))
            text = path.read_text(encoding="utf-8")
            tree = ast.parse(text, place)
            yield from sizes(place, text, tree, ports)
            if folder == "src":
                yield from names(place)
                yield from unsafe(place, tree)
                if path.name == "__init__.py":
                    yield from own_code(place, tree)
    yield from reading_order(root / "src/crossdock/core")


def sizes(place: str, text: str, tree: ast.Module, ports: dict[str, frozenset[str]]) -> Iterator[str]:
    """Yield what is too long."""
    if (lines := len(text.splitlines())) > MODULE_LINES:
        yield f"{place}: {lines} lines, at most {MODULE_LINES}"
    for node in ast.walk(tree):
        if isinstance(node, Functions) and (lines := function_length(node)) > FUNCTION_LINES:
            yield f"{place}:{node.lineno}: {node.name} has {lines} lines, at most {FUNCTION_LINES}"
        if isinstance(node, ast.ClassDef) and (count := own_methods(node, ports)) > METHODS:
            yield f"{place}:{node.lineno}: {node.name} has {count} methods, at most {METHODS}"


def function_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring and decorators."""
    first = node.body[0]
    documented = isinstance(first, ast.Expr) and ast.get_docstring(node) is not None
    docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
    return (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


def own_methods(node: ast.ClassDef, ports: dict[str, frozenset[str]]) -> int:
    """Return the number of methods a class has beyond the verbs of the ports it implements."""
    methods = [item.name for item in node.body if isinstance(item, Functions)]
    demanded = {verb for verbs in ports.values() if verbs <= set(methods) for verb in verbs}
    return sum(name not in demanded for name in methods)


def port_verbs(path: Path) -> dict[str, frozenset[str]]:
    """Return the verbs of each port; one with a single verb says too little to be recognised."""
    if not path.exists():
        return {}
    classes = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
    verbs = {node.name: frozenset(item.name for item in node.body if isinstance(item, Functions)) for node in classes}
    return {name: found for name, found in verbs.items() if len(found) > 1}


def names(place: str) -> Iterator[str]:
    """Yield file and folder names that say nothing."""
    for part in Path(place).with_suffix("").parts:
        if part in BANNED_NAMES:
            yield f"{place}: {part!r} says nothing about what is inside"


def unsafe(place: str, tree: ast.Module) -> Iterator[str]:
    """Yield imports and calls that could run what somebody sent."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for module in imported(node):
                if module.partition(".")[0] in BANNED_IMPORTS:
                    yield f"{place}:{node.lineno}: imports {module}, which runs code when it reads"
        if isinstance(node, ast.Call):
            if (called := ast.unparse(node.func)) in BANNED_CALLS:
                yield f"{place}:{node.lineno}: calls {called}"
            if any(keyword.arg == "allow_pickle" for keyword in node.keywords):
                yield f"{place}:{node.lineno}: uses allow_pickle"


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Return the modules that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""]


def own_code(place: str, tree: ast.Module) -> Iterator[str]:
    """Yield what an ``__init__.py`` holds besides its docstring, imports and ``__all__``.

    Re-exports may be lazy: a table ``_HOMES`` that ``__getattr__`` looks names up in, and imports for type checkers.
    """
    for node in tree.body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        imports = isinstance(node, ast.Import | ast.ImportFrom) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        )
        if not (docstring or imports or _name(node) in EXPORTING):
            yield f"{place}:{node.lineno}: an __init__.py only re-exports"


def _name(node: ast.stmt) -> str:
    """Return what a statement defines."""
    if isinstance(node, Functions):
        return node.name
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0])
    return ast.unparse(node.target) if isinstance(node, ast.AnnAssign) else ""


def reading_order(core: Path) -> Iterator[str]:
    """Yield a line if the five files that explain the system have grown too long to be read in one go."""
    paths = [core / f"{name}.py" for name in READING_ORDER]
    total = sum(code_lines(path.read_text(encoding="utf-8")) for path in paths if path.exists())
    if total > READING_LINES:
        yield f"{core.name}: {', '.join(READING_ORDER)} have {total} lines of code together, at most {READING_LINES}"


def code_lines(text: str) -> int:
    """Return the number of lines with code: no blank ones, comments or docstrings."""
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstring_lines(ast.parse(text)))


def docstring_lines(tree: ast.Module) -> set[int]:
    """Return the lines of all strings that are statements: docstrings, also those under an attribute."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


if __name__ == "__main__":
    sys.exit(main())
