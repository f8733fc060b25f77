#!/usr/bin/env bash
# Checks the templates, the scripts and the user data, without building anything.
set -euo pipefail
cd "$(dirname "$0")"

./need.sh packer shellcheck cloud-init ssh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CHECKPOINT_DISABLE=1 HOME=$work # Packer keeps things there

# Packer warns on standard output of what is meant here: a base image without a checksum, since it is made here.
quietly() { "$@" >"$work/said" || { cat "$work/said" && return 1; }; }

grep -rlE '^#!/(bin/sh|usr/bin/env bash)' --exclude-dir=examples . | xargs shellcheck

packer fmt -check .
ssh-keygen -q -t ed25519 -N "" -f "$work/key"
touch "$work/user-data" "$work/meta-data" "$work/payload.tar"
quietly packer validate -var "base=$work/base" -var "payload=$work/payload.tar" -var "seed=$work" -var "output=$work/out" \
    appliance.pkr.hcl
for arch in amd64 arm64; do quietly packer validate -var "payload=$work/payload.tar" -var "arch=$arch" aws.pkr.hcl; done

for data in examples/*.yaml files/etc/cloud/cloud.cfg.d/*.cfg base/files/etc/cloud/cloud.cfg.d/*.cfg; do
    quietly cloud-init schema --config-file "$data"
done
