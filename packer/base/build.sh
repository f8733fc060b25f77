#!/usr/bin/env bash
# Makes the base image: Debian 12 that boots, with ssh and cloud-init.
#
#   build.sh packages OUT   from Debian's packages alone, which apt verifies
#   build.sh cloud OUT      Debian's public cloud image, verified by its published checksum
#   build.sh FILE OUT       a cloud image that is there already
#
# OUT is a qcow2 file; it is replaced only by one that is complete.
set -euo pipefail
kind=$1 out=$(realpath "$2")
case $kind in packages | cloud) ;; *) kind=$(realpath --canonicalize-existing "$kind") ;; esac
cd "$(dirname "$0")"

readonly SUITE=bookworm IMAGE=debian-12-genericcloud-amd64.qcow2
readonly PUBLISHED="https://cloud.debian.org/images/cloud/$SUITE/latest"

main() {
    local as_root=()
    [ "$(id -u)" = 0 ] || as_root=(mmdebstrap --unshare-helper)
    work=$(mktemp -d "$out.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    case $kind in
        packages) "${as_root[@]}" ./packages.sh "$SUITE" "$work/base.qcow2" ;;
        cloud) download "$work/base.qcow2" ;;
        *) cp "$kind" "$work/base.qcow2" ;;
    esac
    mv "$work/base.qcow2" "$out"
}

# The list of checksums comes by https from Debian's own server: that is what is trusted.
download() {
    curl --fail --silent --show-error --location --output "$work/sums" "$PUBLISHED/SHA512SUMS"
    curl --fail --location --output "$work/$IMAGE" "$PUBLISHED/$IMAGE"
    (cd "$work" && grep " $IMAGE\$" sums | sha512sum --check)
    mv "$work/$IMAGE" "$1"
}

main
