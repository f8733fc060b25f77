#!/usr/bin/env bash
# Makes the accounts: appliance for Redis and the proxy, browser for the workers with their browsers.
set -euo pipefail

for name in appliance browser; do
    getent passwd "$name" >/dev/null ||
        useradd --system --user-group --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin "$name"
done
