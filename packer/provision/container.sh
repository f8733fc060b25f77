#!/usr/bin/env bash
# Makes what a container needs beside the grid: a home that any account can use, and nothing that gives rights.
set -euo pipefail
readonly HOME_FOLDER=/var/lib/playwright-appliance

install -d -m 1777 "$HOME_FOLDER"
usermod --home "$HOME_FOLDER" appliance
install -d -m 755 /etc/playwright-appliance
cp -r --no-preserve=ownership "$PAYLOAD/container/." /
# No program of the image lets its user become another.
find / -xdev -type f -perm /6000 -exec chmod a-s {} +
# With the times that the image's files get, so that these caches count.
fc-cache --force
