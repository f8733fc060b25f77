#!/usr/bin/env bash
# Takes away what belongs to the machine that builds or to its making: keys, ids, logs, caches.
set -euo pipefail

rm -f /etc/ssh/ssh_host_* /var/lib/systemd/random-seed /var/lib/dbus/machine-id \
    /etc/passwd- /etc/shadow- /etc/group- /etc/gshadow- /etc/subuid- /etc/subgid-
: >/etc/machine-id
echo playwright >/etc/hostname
chmod 644 /etc/hostname

apt-get -q clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/lib/dpkg/*-old \
    /var/cache/ldconfig/aux-cache \
    /root/.cache /root/.ssh /root/.bash_history /home/*/.ssh /home/*/.bash_history /var/tmp/*
find /var/log -type f -delete
