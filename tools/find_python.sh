#!/bin/sh
# Print the path of a Python 3.11 or newer that can make virtual environments, or say how to get one.
# Candidates are run, not only looked up: a pyenv shim exists for versions that are not active.
set -eu

usable='
import sys, venv, ensurepip
if sys.version_info < (3, 11):
    sys.exit(1)
print(sys.executable)
'

for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
    if found=$("$candidate" -c "$usable" 2>/dev/null); then
        printf '%s\n' "$found"
        exit 0
    fi
done

cat >&2 <<'HELP'
A Python 3.11 or newer with the modules venv and ensurepip is needed (or name one: make PYTHON=/path/to/python3.12 ...).
  Debian, Ubuntu:  sudo apt install python3 python3-venv
  Fedora:          sudo dnf install python3
  macOS:           brew install python@3.12
HELP
exit 1
