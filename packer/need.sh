#!/usr/bin/env bash
# need.sh PROGRAM... installs the Debian packages of the missing programs, which images and tests need.
# Of a package that would start a server, only the program is unpacked, into build/bin, which takes no root.
set -euo pipefail

declare -rA PACKAGES=(
    [packer]=packer [shellcheck]=shellcheck [cloud-init]=cloud-init [curl]=curl [ssh]=openssh-client
    [qemu-system-x86_64]=qemu-system-x86 [qemu-img]=qemu-utils [xorriso]=xorriso
    [umoci]=umoci [skopeo]=skopeo [runc]=runc
    [/usr/share/ovmf/OVMF.fd]=ovmf [mmdebstrap]=mmdebstrap [sfdisk]=fdisk [mke2fs]=e2fsprogs [mkfs.vfat]=dosfstools [mcopy]=mtools
    [nft]=nftables [ip]=iproute2 [ss]=iproute2 [haproxy]=haproxy [nginx]=nginx-light [cc]="gcc libc6-dev" [tmux]=tmux [Xvfb]=xvfb
    [grub-mkimage]=grub-common [/usr/lib/grub/i386-pc]=grub-pc-bin [/usr/lib/grub/x86_64-efi]=grub-efi-amd64-bin
)
declare -rA UNPACKED=([promtool]=prometheus)
BUILD=$(cd "$(dirname "$0")/.." && pwd)/build
PATH=$PATH:/usr/sbin:/sbin:$BUILD/bin

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo -n)
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qy)

# The program is moved in one step: several tests may need it at the same time.
unpack() {
    local work
    mkdir -p "$BUILD/bin"
    work=$(mktemp -d -p "$BUILD")
    (
        cd "$work"
        apt-get -q download "${UNPACKED[$1]}" || { "${apt[@]}" update && apt-get -q download "${UNPACKED[$1]}"; }
        dpkg-deb --fsys-tarfile ./*.deb | tar -x "./usr/bin/$1"
    ) >"$work/said" 2>&1 || {
        cat "$work/said" >&2
        echo "$1 of the package ${UNPACKED[$1]} is needed, and could not be downloaded: install it yourself." >&2
        exit 1
    }
    mv "$work/usr/bin/$1" "$BUILD/bin/$1"
    rm -r "$work"
}

missing=
for program in "$@"; do
    if [ -e "$program" ] || command -v "$program" >/dev/null; then continue; fi
    if [ "${UNPACKED[$program]:-}" ]; then unpack "$program"; else missing+=" ${PACKAGES[$program]}"; fi
done
read -ra missing <<<"$missing"
[ ${#missing[@]} -gt 0 ] || exit 0

if ! { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "${missing[@]}"; } >/dev/null; then
    echo "These packages are needed, and could not be installed: ${missing[*]}" >&2
    echo "Install them as root: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
fi
