#!/usr/bin/env bash
# Builds the image, on Debian or Ubuntu: build.sh FOLDER makes FOLDER/playwright-appliance.qcow2 and its checksum.
#
# BASE says from what: packages (Debian's, the default), cloud (Debian's public image), or an image's path.
# BROWSERS and DRIVERS say what is in it: see payload.sh.
# ACCELERATOR, kvm or tcg, is otherwise found by trying; APT_PROXY may name a proxy for apt.
# What lasts, the base image and the wheels, is kept in FOLDER for the next build: remove it to build it again.
set -euo pipefail

mkdir -p "$1"
FOLDER=$(realpath "$1")
HERE=$(realpath "$(dirname "$0")")
readonly NAME=playwright-appliance.qcow2 BASE=${BASE:-packages}
PATH=$PATH:/usr/sbin:/sbin

main() {
    if [ "${ARCH:-amd64}" != amd64 ]; then
        echo "This builds for amd64 alone. For arm64: packer/oci/build.sh, or packer/aws.pkr.hcl (docs/image.md)." >&2
        exit 2
    fi
    need
    work=$(mktemp -d "$FOLDER/building.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    local base
    base=$FOLDER/base-$(basename "$BASE").qcow2
    [ -e "$base" ] || say "the base image, from $BASE" "$HERE/base/build.sh" "$BASE" "$base"
    say "the wheels and scripts" "$HERE/payload.sh" "$work/payload.tar"
    make_seed
    local accelerator=${ACCELERATOR:-$("$HERE/accelerator" "$base")}
    say "the image, in a machine with $accelerator" build_with_packer "$base" "$accelerator"
    mv "$work/image/$NAME" "$FOLDER/$NAME"
    (cd "$FOLDER" && sha256sum "$NAME" >"$NAME.sha256" && ls -lh "$NAME")
}

need() {
    "$HERE/need.sh" packer qemu-system-x86_64 qemu-img xorriso ssh curl
    [ "$BASE" != packages ] || "$HERE/need.sh" mmdebstrap sfdisk mke2fs mkfs.vfat mcopy \
        grub-mkimage /usr/lib/grub/i386-pc /usr/lib/grub/x86_64-efi
}

say() {
    echo "Making $1 …"
    "${@:2}"
}

# What lets Packer into the machine that it builds in, and nobody else.
make_seed() {
    mkdir "$work/seed"
    ssh-keygen -q -t ed25519 -N "" -C packer -f "$work/seed/key"
    echo "instance-id: packer" >"$work/seed/meta-data"
    cat >"$work/seed/user-data" <<-DATA
		#cloud-config
		users:
		  - name: packer
		    shell: /bin/bash
		    sudo: ALL=(ALL) NOPASSWD:ALL
		    ssh_authorized_keys: ["$(cat "$work/seed/key.pub")"]
	DATA
}

build_with_packer() (
    cd "$work" # where Packer leaves its cache
    export TMPDIR=$work CHECKPOINT_DISABLE=1 PACKER_CACHE_DIR=$work/cache
    if ! packer build -color=false -var "base=$1" -var "accelerator=$2" -var "payload=$work/payload.tar" \
        -var "seed=$work/seed" -var "output=$work/image" -var "apt_proxy=${APT_PROXY:-}" \
        "$HERE/appliance.pkr.hcl" >"$FOLDER/build.log" 2>&1; then
        tail -n 30 "$FOLDER/build.log" >&2
        echo "The build failed: $FOLDER/build.log has more." >&2
        return 1
    fi
)

main
