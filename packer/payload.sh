#!/usr/bin/env bash
# Packs what makes an appliance of a Debian: payload.sh OUT.tar
#
# BROWSERS says which browsers the image gets: chromium (the default), firefox, or both, separated by commas. DRIVERS
# names Playwright versions, like 1.62,1.60, whose drivers the image gets beside its own. ARCH is amd64 (the default
# on such a machine) or arm64. The wheels are chosen here, for the image's Python, since there is no pip with a
# registry in what is built. PIP may name the pip to use.
set -euo pipefail
out=$(realpath "$1")
cd "$(dirname "$0")"

# Of Debian 12; glibc 2.36.
readonly PYTHON_VERSION=3.11 GLIBC_MINORS=(36 35 34 31 28 27 24 17 12 5)
# What redis wants of Pythons before 3.11.3. The markers of requirements are read by the Python that pip runs on, which
# may be a later one.
readonly ALSO=("async-timeout>=4.0.3")
# The last that speaks with Debian's Firefox.
readonly FIREFOX_DRIVER=1.62
readonly ARCH=${ARCH:-$(dpkg --print-architecture)}
export BROWSERS=${BROWSERS:-chromium}
drivers=${DRIVERS:-}

main() {
    check
    work=$(mktemp -d "$out.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir "$work/source" "$work/drivers" # setuptools leaves things where it builds, and would pack them the next time
    (cd .. && cp -r setup.py pyproject.toml README.md supervisord.conf appliance proxy workers "$work/source")
    "${PIP:-../.venv/bin/pip}" -qq wheel --no-deps --wheel-dir "$work/own" "$work/source"
    download wheels "$work"/own/*.whl "${ALSO[@]}"
    for version in ${drivers//,/ }; do download drivers --no-deps "playwright==$version.*"; done
    printf '%s=%s\n' BROWSERS "$BROWSERS" DRIVERS "$drivers" >"$work/chosen"
    cp -r provision files container "$work"
    tar -C "$work" --owner=0 --group=0 -cf "$work.tar" provision files container wheels drivers chosen
    mv "$work.tar" "$out"
}

check() {
    provision/names.sh container >/dev/null
    if ! [[ $drivers =~ ^([0-9]+\.[0-9]+(,[0-9]+\.[0-9]+)*)?$ ]]; then
        echo "DRIVERS: $drivers is no list of versions like 1.62,1.60" >&2
        exit 2
    fi
    if [[ ,$BROWSERS, == *,firefox,* && ,$drivers, != *,$FIREFOX_DRIVER,* ]]; then
        drivers=${drivers:+$drivers,}$FIREFOX_DRIVER
    fi
}

# What pip calls the machines that the image is for, the most recent glibc first.
platforms() {
    local machine minor
    case $ARCH in
        amd64) machine=x86_64 ;;
        arm64) machine=aarch64 ;;
        *) echo "ARCH: $ARCH is neither amd64 nor arm64" >&2 && return 2 ;;
    esac
    for minor in "${GLIBC_MINORS[@]}"; do echo "--platform=manylinux_2_${minor}_$machine"; done
    echo "--platform=manylinux2014_$machine"
    [ "$ARCH" != amd64 ] || printf -- '--platform=manylinux%s_x86_64\n' 2010 1
}

download() {
    local found
    found=$(platforms)
    readarray -t found <<<"$found"
    "${PIP:-../.venv/bin/pip}" -qq download --dest "$work/$1" --only-binary=:all: --implementation cp \
        --python-version "$PYTHON_VERSION" "${found[@]}" "${@:2}"
}

main
