#!/usr/bin/env bash
# Makes .venv with everything development needs. Called by `make setup` with the Python to use.
set -eu
cd "$(dirname "$0")/.."
python=${1:-python3}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else return 1; fi
}

if ! command -v "$python" >/dev/null; then
    echo "setup: there is no '$python'. Name one: make setup PYTHON=/path/to/python3" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; then
    echo "setup: $("$python" --version) does not do, Python 3.11, 3.12 or 3.13 is needed: make setup PYTHON=python3.12" >&2
    exit 1
fi
# Debian and Ubuntu ship Python without ensurepip, which venv needs.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    echo "setup: $python has no venv; installing the system package $package"
    if ! { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qqy "$package"; }; then
        echo "setup: could not install it. As root: apt-get install $package" >&2
        exit 1
    fi
fi
# An environment whose interpreter is gone (an upgraded system, a moved folder) is made anew.
if ! .venv/bin/python -c '' 2>/dev/null; then
    "$python" -m venv --clear .venv
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
