#!/usr/bin/env bash
# Writes an image in other formats, beside it: formats.sh IMAGE.qcow2 FORMAT...
#
#   raw   a disk as it is                       vmdk  VMware, streamed and compressed
#   vhd   Azure: fixed size, whole MiB          gce   Google: disk.raw in a .tar.gz, whole GiB
set -euo pipefail

if [ $# -lt 2 ] || [ ! -f "$1" ]; then
    echo "usage: formats.sh IMAGE.qcow2 FORMAT..., each one of raw, vmdk, vhd and gce" >&2
    exit 2
fi
image=$1
stem=${image%.qcow2}
shift
for format in "$@"; do
    rm -rf "$stem.part"
    out=$stem.$format
    case $format in
        raw) qemu-img convert -O raw "$image" "$stem.part" ;;
        vmdk) qemu-img convert -O vmdk -o subformat=streamOptimized "$image" "$stem.part" ;;
        vhd) qemu-img convert -O vpc -o subformat=fixed,force_size "$image" "$stem.part" ;;
        gce)
            out=$out.tar.gz
            mkdir "$stem.part"
            qemu-img convert -O raw "$image" "$stem.part/disk.raw"
            tar --format=oldgnu -C "$stem.part" -Sczf "$out.part" disk.raw
            rm -r "$stem.part"
            mv "$out.part" "$stem.part"
            ;;
        *)
            echo "unknown format $format; known are raw, vmdk, vhd and gce" >&2
            exit 2
            ;;
    esac
    mv "$stem.part" "$out"
    ls -lh "$out"
done
