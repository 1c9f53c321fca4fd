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

# Installs a package whose service is not wanted: tests start nodes of their own. Debian's way to forbid services is this file;
# where it is there already (containers have it) it says what the system's owner wants.
install_quietly() {
    local policy=/usr/sbin/policy-rc.d ours="" status=0
    if [ ! -e "$policy" ] && as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"; then ours=yes; fi
    install "$@" || status=$?
    if [ -n "$ours" ]; then as_root rm -f "$policy"; fi
    return "$status"
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

# Debian's wrapper is not in the path of ordinary users.
rabbitmq() { PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v rabbitmq-server; }

if ! rabbitmq >/dev/null; then
    if install_quietly rabbitmq-server; then
        # Nor at the next start of the machine.
        if [ -d /run/systemd/system ]; then as_root systemctl --quiet disable rabbitmq-server; fi
    else
        missing+=("rabbitmq-server: the tests of json-bus are skipped. As root: apt-get install rabbitmq-server")
    fi
fi

for line in "${missing[@]+"${missing[@]}"}"; do echo "system: missing $line"; done
if [ "${#missing[@]}" -gt 0 ] && [ "${CI:-}" = true ]; then exit 1; fi
exit 0
