#!/usr/bin/env bash
# Builds the image for containers, on Debian or Ubuntu: build.sh FOLDER makes FOLDER/playwright-appliance.oci.tar.
#
# BROWSERS and DRIVERS say what is in it: see payload.sh. ARCH is amd64 or arm64; that of another machine needs
# qemu-user-static. SOURCE_DATE_EPOCH is the time that all of its files get, else that of the last commit.
# shellcheck disable=SC2016 # mmdebstrap's hooks have a $1 of their own
set -euo pipefail

mkdir -p "$1"
FOLDER=$(realpath "$1")
cd "$(dirname "$0")"
readonly SUITE=bookworm NAME=playwright-appliance.oci.tar
export ARCH=${ARCH:-$(dpkg --print-architecture)} BROWSERS=${BROWSERS:-chromium} DRIVERS=${DRIVERS:-}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
umask 022

main() {
    ../need.sh mmdebstrap
    work=$(mktemp -d "$FOLDER/building.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    chmod 755 "$work" # for the other user ids of mmdebstrap's namespace
    say "the wheels and scripts" ../payload.sh "$work/payload.tar"
    say "the root" make_root
    say "the archive" ../../.venv/bin/python archive.py "$work/root.tar" "$work/$NAME" "$ARCH"
    mv "$work/$NAME" "$FOLDER/$NAME"
    (cd "$FOLDER" && sha256sum "$NAME" >"$NAME.sha256" && ls -lh "$NAME")
}

say() {
    echo "Making $1 …"
    "${@:2}"
}

make_root() {
    local packages as_root=() hooks
    packages=$(../provision/names.sh container)
    [ "$(id -u)" = 0 ] || as_root=(mmdebstrap --unshare-helper)
    hooks=(
        --customize-hook="mkdir \"\$1/tmp/payload\" && tar -xf '$work/payload.tar' -C \"\$1/tmp/payload\""
        # Nothing of this shell's environment reaches pip and the like.
        --customize-hook='env -i PATH="$PATH" SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" \
            chroot "$1" /tmp/payload/provision/all container'
        # mmdebstrap has put this machine's there; a container gets its own.
        --customize-hook='rm "$1/etc/resolv.conf"'
    )
    if ! "${as_root[@]}" mmdebstrap --mode=root --variant=apt --format=tar --architectures="$ARCH" \
        --dpkgopt=../base/files/etc/dpkg/dpkg.cfg.d/50-without-documentation \
        --include="${packages//$'\n'/,}" "${hooks[@]}" "$SUITE" "$work/root.tar" >"$FOLDER/oci-build.log" 2>&1; then
        tail -n 30 "$FOLDER/oci-build.log" >&2
        echo "The build failed: $FOLDER/oci-build.log has more." >&2
        return 1
    fi
}

main
