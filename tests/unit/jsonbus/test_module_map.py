"""The map of the modules in the docstring of the package: it is whole, and the roles keep apart as it says."""

import re
from pathlib import Path

from crossdock.protocols import jsonbus

FOLDER = Path(jsonbus.__file__).parent
SHARED = 2
"""Groups, at the beginning, that serve the others."""
SUBJECT = ("backend_jobs", "worker_jobs")


def groups():
    """Return the modules of each group."""
    blocks = (jsonbus.__doc__ or "").split("\n\n")[2:]
    lines = [[line for line in block.splitlines() if line.startswith(("    ", "Clients: "))] for block in blocks]
    return [re.findall(r"``([a-z_]+)``", "\n".join(group)) for group in lines]


def imported(module):
    """Return the modules of this package that a module of it imports, be it late."""
    files = [FOLDER / f"{module}.py"] if (FOLDER / f"{module}.py").exists() else (FOLDER / module).glob("*.py")
    text = "\n".join(file.read_text() for file in files)
    names = re.findall(r"from crossdock\.protocols\.jsonbus(?:\.(\w+)[\w.]*)? import (\w+)", text)
    return {package or name for package, name in names} - {module}


def test_every_module_is_in_one_group():
    modules = [path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__"]
    modules += [path.parent.name for path in FOLDER.glob("*/__init__.py")]
    named = [name for group in groups() for name in dict.fromkeys(group)]
    assert sorted(named) == sorted(modules)


def test_a_role_knows_what_serves_all_and_itself():
    for place, group in enumerate(groups()):
        known = set(group).union(*groups()[: min(place, SHARED)])
        for module in group:
            further = {(module, other) for other in imported(module) - known}
            assert further <= {SUBJECT}
