#!/usr/bin/env bash
# Lays files/ over the root, and says which services run.
set -euo pipefail

cp -r --no-preserve=ownership "$PAYLOAD/files/." /
install -d -m 755 /etc/playwright-appliance
: >/etc/motd
rm -f /etc/update-motd.d/10-uname

# Redis is supervisord's. Packages are updated when the operator says so.
systemctl --quiet disable redis-server nftables
systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer
systemctl --quiet enable playwright-appliance playwright-appliance-welcome systemd-timesyncd
