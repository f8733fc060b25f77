#!/usr/bin/env bash
# Adds the drivers of other Playwright versions that DRIVERS names, from their wheels. Nobody removes them.
set -euo pipefail
readonly FOLDER=/opt/playwright-appliance

[ -n "$DRIVERS" ] || exit 0
export PIP_NO_INDEX=1 PIP_FIND_LINKS=$PAYLOAD/drivers DRIVERS_DIR=$FOLDER/share/playwright-appliance/shipped-drivers
for version in ${DRIVERS//,/ }; do
    "$FOLDER/bin/applctl" drivers add "$version"
done
