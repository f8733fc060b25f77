#!/usr/bin/env bash
# Sees to programs that images and tests need: need.sh PROGRAM... installs the Debian packages of those that are missing.
set -euo pipefail

declare -rA PACKAGES=(
    [packer]=packer [shellcheck]=shellcheck [cloud-init]=cloud-init [curl]=curl [ssh]=openssh-client
    [qemu-system-x86_64]=qemu-system-x86 [qemu-img]=qemu-utils [xorriso]=xorriso
    [/usr/share/ovmf/OVMF.fd]=ovmf [mmdebstrap]=mmdebstrap [sfdisk]=fdisk [mke2fs]=e2fsprogs [mkfs.vfat]=dosfstools [mcopy]=mtools
    [nft]=nftables [ip]=iproute2 [ss]=iproute2 [haproxy]=haproxy [nginx]=nginx-light [cc]="gcc libc6-dev" [tmux]=tmux
    [grub-mkimage]=grub-common [/usr/lib/grub/i386-pc]=grub-pc-bin [/usr/lib/grub/x86_64-efi]=grub-efi-amd64-bin
)
PATH=$PATH:/usr/sbin:/sbin

missing=
for program in "$@"; do
    [ -e "$program" ] || command -v "$program" >/dev/null || missing+=" ${PACKAGES[$program]}"
done
read -ra missing <<<"$missing"
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo -n)
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qy)
if ! { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "${missing[@]}"; } >/dev/null; then
    echo "These packages are needed, and could not be installed: ${missing[*]}" >&2
    echo "Install them as root: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
fi
