#!/usr/bin/env bash
# Installs what tests need beyond Python, and says at the end what is missing. With CI=true a missing thing is an error.
set -u

missing=()

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; elif sudo -n true 2>/dev/null; then sudo "$@"; else return 1; fi
}

install() {
    command -v apt-get >/dev/null || return 1
    as_root apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends "$@" >/dev/null
}

browser() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

# Ubuntu's package of that name is an empty shell that asks snapd for the real thing, which containers do not have.
is_snap() { grep -qs '^ID=ubuntu' /etc/os-release; }

if ! browser >/dev/null; then
    if is_snap; then
        missing+=("chromium: Ubuntu has it only as a snap. Install any Chromium or Chrome for the browser tests")
    elif ! install chromium; then
        missing+=("chromium: the browser tests are skipped. As root: apt-get install chromium")
    fi
fi

if ! command -v cc >/dev/null && ! install gcc libc6-dev; then
    missing+=("cc: the tests of failing writes are skipped. As root: apt-get install gcc libc6-dev")
fi

# Version 0.7 is the first that limits the size of file systems in memory.
if ! command -v bwrap >/dev/null && ! install bubblewrap; then
    missing+=("bwrap: the tests of boxes with namespaces are skipped. As root: apt-get install bubblewrap")
fi

for line in "${missing[@]+"${missing[@]}"}"; do echo "system: missing $line"; done
if [ "${#missing[@]}" -gt 0 ] && [ "${CI:-}" = true ]; then exit 1; fi
exit 0
