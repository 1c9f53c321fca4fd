"""From ``file.py:app`` or ``package.module:app`` to the App it names."""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.needs import refuse_circles
from crossdock.runners.function.registry import App


def load_app(reference: str) -> App:
    """Return the App that ``reference`` names: a file or a module, a colon, and a variable (``app`` if left out).

    Raises:
        CrossdockError: ``invalid``, saying what is missing, what the import raised and where, or which functions need each
            other in a circle.
    """
    place, name = _split(reference)
    module = _load_file(Path(place)) if _is_file(place) else _load_module(place)
    found = getattr(module, name, None)
    if isinstance(found, App):
        refuse_circles(found.kinds())
        return found
    apps = [variable for variable, value in vars(module).items() if isinstance(value, App)]
    problem = f"{place} has no {name!r}" if found is None else f"{name!r} in {place} is no App but a {type(found).__name__}"
    hint = f"; it has {', '.join(f'{place}:{app}' for app in apps)}" if apps else "; write `app = App()` in it"
    raise CrossdockError(Code.INVALID, problem + hint)


def absolute(reference: str) -> str:
    """Return ``reference`` such that it means the same in another folder."""
    place, name = _split(reference)
    return f"{Path(place).resolve()}:{name}" if _is_file(place) else f"{place}:{name}"


def _split(reference: str) -> tuple[str, str]:
    place, colon, name = reference.rpartition(":")
    place, name = (place, name) if colon else (reference, "app")
    if not place or not name:
        raise CrossdockError(Code.INVALID, f"{reference!r} names no app; write file.py:app or package.module:app")
    return place, name


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place


def _load_file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise CrossdockError(Code.INVALID, f"there is no file {path}")
    # A script's neighbours can be imported, as if it had been started by hand.
    _search_in(str(path.parent))
    # A file may be called like a module that is in use; that one must stay what it is.
    name = path.stem if path.stem not in sys.modules else f"crossdock_app_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CrossdockError(Code.INVALID, f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _import_failed(str(path), error) from error
    return module


def _load_module(name: str) -> ModuleType:
    _search_in(str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            message = f"there is no module {name!r} here; for a file write its path: file.py:app"
            raise CrossdockError(Code.INVALID, message) from None
        raise _import_failed(name, error) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(name, error) from error


def _search_in(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _import_failed(place: str, error: BaseException) -> CrossdockError:
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and "importlib" not in frame.filename
    ]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return CrossdockError(Code.INVALID, f"importing {place} raised {type(error).__name__}: {error}{where}")
