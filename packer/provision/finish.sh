#!/usr/bin/env bash
# Checks what was built, and lets services start again.
set -euo pipefail

rm /usr/sbin/policy-rc.d
cloud-init schema --config-file /etc/cloud/cloud.cfg.d/60-playwright-appliance.cfg
systemd-analyze verify /etc/systemd/system/playwright-appliance*.service
