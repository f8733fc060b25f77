#!/usr/bin/env bash
# Installs the appliance and what it needs of Python into a virtual environment, from the wheels alone.
set -euo pipefail
readonly FOLDER=/opt/playwright-appliance

python3 -m venv "$FOLDER"
"$FOLDER/bin/pip" install --quiet --no-cache-dir --no-compile --no-index --find-links "$PAYLOAD/wheels" \
    playwright-appliance
# Compiled here, for whoever cannot write there; by the sources' content, since images give files other times.
"$FOLDER/bin/python" -m compileall -qq --invalidation-mode unchecked-hash "$FOLDER/lib" || true # some are for later Pythons
install -d -m 755 /usr/local/lib/playwright-appliance
"$FOLDER/bin/applctl" --version | grep -o "[^ ]*$" >/usr/local/lib/playwright-appliance/version
