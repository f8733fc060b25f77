#!/usr/bin/env bash
# Makes a bootable Debian image from Debian's packages: packages.sh SUITE OUT.qcow2
#
# Run by root, or in mmdebstrap's user namespace (build.sh). No loop device is used, so that it works in containers.
# It boots by BIOS and by UEFI. The disk: the MBR with GRUB's first sector, GRUB itself in the gap behind it, from
# sector 2048 on a small partition for UEFI, then the root file system up to the end, which grows at boot.
# shellcheck disable=SC2016 # mmdebstrap's hooks have a $1 of their own
set -euo pipefail
cd "$(dirname "$0")"

readonly SUITE=$1 OUT=$2
readonly MIB=1048576 ESP_MIB=16 ROOT_MIB=2560
readonly PACKAGES=(
    linux-image-cloud-amd64 initramfs-tools zstd systemd-sysv udev dbus libpam-systemd
    systemd-resolved systemd-timesyncd openssh-server sudo cloud-init cloud-guest-utils
    e2fsprogs fdisk ca-certificates iproute2 iputils-ping netbase less vim-tiny
)

work=$(mktemp -d "$OUT.XXXXXX")
trap 'rm -rf "$work"' EXIT
uuid=$(cat /proc/sys/kernel/random/uuid)

make_root() {
    local hooks=(
        --setup-hook='mkdir -p "$1/etc/dpkg/dpkg.cfg.d" && cp files/etc/dpkg/dpkg.cfg.d/* "$1/etc/dpkg/dpkg.cfg.d/"'
        --customize-hook='cp -r files/. "$1/"'
        --customize-hook="./finish.sh \"\$1\" $uuid"
    )
    mmdebstrap --quiet --mode=root --variant=minbase --format=directory \
        --include="$(IFS=,; echo "${PACKAGES[*]}")" "${hooks[@]}" "$SUITE" "$work/root"
    mke2fs -q -t ext4 -U "$uuid" -m 1 -d "$work/root" "$work/root.ext4" "${ROOT_MIB}M"
    rm -rf "$work/root"
}

# GRUB finds the root by its UUID and reads /boot/grub/grub.cfg there, by BIOS and by UEFI alike.
make_loaders() {
    cat >"$work/early.cfg" <<-EARLY
		search --fs-uuid --set=root $uuid
		configfile (\$root)/boot/grub/grub.cfg
	EARLY
    local modules=(configfile ext2 gzio linux normal part_gpt part_msdos search search_fs_uuid serial test)
    grub-mkimage -O i386-pc -p /boot/grub -c "$work/early.cfg" -o "$work/core.img" biosdisk "${modules[@]}"
    grub-mkimage -O x86_64-efi -p /boot/grub -c "$work/early.cfg" -o "$work/bootx64.efi" fat "${modules[@]}"
    truncate -s "${ESP_MIB}M" "$work/esp.fat"
    mkfs.vfat -n ESP "$work/esp.fat" >/dev/null
    mmd -i "$work/esp.fat" ::EFI ::EFI/BOOT
    mcopy -i "$work/esp.fat" "$work/bootx64.efi" ::EFI/BOOT/BOOTX64.EFI
}

# An MBR table, not GPT: then core.img lies at sector 1, where boot.img looks for it without being patched.
make_disk() {
    local disk=$work/disk.raw root_at=$((1 + ESP_MIB))
    truncate -s "$((root_at + ROOT_MIB))M" "$disk"
    sfdisk --quiet "$disk" <<-TABLE
		label: dos
		start=2048, size=${ESP_MIB}MiB, type=ef
		start=$((root_at * MIB / 512)), type=83, bootable
	TABLE
    test "$(stat -c %s "$work/core.img")" -lt $((2047 * 512))
    put /usr/lib/grub/i386-pc/boot.img 0 bs=440 count=1
    put "$work/core.img" 512
    put "$work/esp.fat" "$MIB"
    put "$work/root.ext4" $((root_at * MIB))
    qemu-img convert -O qcow2 "$disk" "$OUT"
}

put() {
    dd if="$1" of="$work/disk.raw" seek="$2" oflag=seek_bytes conv=notrunc,sparse status=none bs=1M "${@:3}"
}

make_root
make_loaders
make_disk
