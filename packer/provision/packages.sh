#!/usr/bin/env bash
# Installs Debian's packages: what the grid runs on, and what its operator wants at hand.
set -euo pipefail

packages=$(./names.sh machine)
readarray -t packages <<<"$packages"

# Nothing is started while the image is built (invoke-rc.d(8)); finish.sh takes this away.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d

proxy=()
[ -z "${APT_PROXY:-}" ] || proxy=(-o "Acquire::http::Proxy=$APT_PROXY")
apt=(apt-get -qy -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "${proxy[@]}")

"${apt[@]}" update
"${apt[@]}" dist-upgrade
"${apt[@]}" install --no-install-recommends "${packages[@]}"
"${apt[@]}" purge unattended-upgrades || true # docs/image.md says how to have it
"${apt[@]}" autoremove --purge
