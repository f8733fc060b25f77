#!/usr/bin/env bash
# Makes what was installed in a folder bootable: finish.sh FOLDER UUID-OF-ITS-FILE-SYSTEM
set -euo pipefail
readonly ROOT=$1 UUID=$2

# Debian's kernel packages keep /vmlinuz and /initrd.img pointing at the newest: updates need no new menu.
mkdir -p "$ROOT/boot/grub"
cat >"$ROOT/boot/grub/grub.cfg" <<MENU
set timeout=0
serial --unit=0 --speed=115200
terminal_output console serial
menuentry "Debian" {
    search --fs-uuid --set=root $UUID
    linux /vmlinuz root=UUID=$UUID ro console=tty0 console=ttyS0,115200 quiet
    initrd /initrd.img
}
MENU
echo "UUID=$UUID / ext4 errors=remount-ro,discard,x-systemd.growfs 0 1" >"$ROOT/etc/fstab"

echo debian >"$ROOT/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >"$ROOT/etc/hosts"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$ROOT/etc/resolv.conf"
chroot "$ROOT" systemctl --quiet enable systemd-networkd systemd-resolved systemd-timesyncd
chroot "$ROOT" passwd --quiet --lock root

# Every machine makes its own at its first boot.
: >"$ROOT/etc/machine-id"
rm -f "$ROOT"/etc/ssh/ssh_host_* "$ROOT/var/lib/dbus/machine-id"
rm -rf "$ROOT"/var/lib/apt/lists/* "$ROOT"/var/cache/apt/*.bin "$ROOT"/var/cache/apt/archives/*.deb
