#!/usr/bin/env bash
# Packs what makes an appliance of a Debian: payload.sh OUT.tar
#
# The wheels are chosen here, for the image's Python, since there is no pip with a registry in the machine that is
# built. PIP may name the pip to use.
set -euo pipefail
out=$(realpath "$1")
cd "$(dirname "$0")"

# Of Debian 12; glibc 2.36.
readonly PYTHON_VERSION=3.11
readonly PLATFORMS=(manylinux_2_{36,35,34,31,28,27,24,17,12,5}_x86_64 manylinux{2014,2010,1}_x86_64)
# What redis wants of Pythons before 3.11.3. The markers of requirements are read by the Python that pip runs on, which
# may be a later one.
readonly ALSO=("async-timeout>=4.0.3")

main() {
    local platform platforms=() pip=${PIP:-../.venv/bin/pip}
    work=$(mktemp -d "$out.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    for platform in "${PLATFORMS[@]}"; do platforms+=(--platform "$platform"); done
    mkdir "$work/source" # setuptools leaves things where it builds, and would pack them the next time
    (cd .. && cp -r setup.py pyproject.toml README.md supervisord.conf appliance proxy workers "$work/source")
    "$pip" -qq wheel --no-deps --wheel-dir "$work/own" "$work/source"
    "$pip" -qq download --dest "$work/wheels" --only-binary=:all: --implementation cp \
        --python-version "$PYTHON_VERSION" "${platforms[@]}" "$work"/own/*.whl "${ALSO[@]}"
    cp -r provision files "$work"
    tar -C "$work" --owner=0 --group=0 -cf "$work.tar" provision files wheels
    mv "$work.tar" "$out"
}

main
