#!/bin/sh
# Print a UTF-8 locale that this system has: Ansible refuses to start without one.
set -eu

available=$(locale -a 2>/dev/null || true)
for wanted in '^C\.utf-\{0,1\}8$' '^en_US\.utf-\{0,1\}8$' '\.utf-\{0,1\}8$'; do
    found=$(printf '%s\n' "$available" | grep -i "$wanted" | head -n 1)
    if [ -n "$found" ]; then
        printf '%s\n' "$found"
        exit 0
    fi
done
echo C.UTF-8
