#!/usr/bin/env bash
# Prints the names of Debian's packages, one a line: names.sh machine | container. BROWSERS says which browsers.
set -euo pipefail

readonly GRID=(
    ffmpeg redis-server python3-venv nftables fontconfig fonts-liberation2 fonts-noto-cjk fonts-noto-color-emoji
)
readonly MACHINE=(systemd-timesyncd logrotate curl less sudo vim-tiny)
readonly CONTAINER=(ca-certificates tzdata netbase)

browsers() {
    local browser
    for browser in ${BROWSERS//,/ }; do
        case $browser in
            chromium) echo chromium-headless-shell ;;
            firefox) echo firefox-esr ;;
            *) echo "BROWSERS: $browser is neither chromium nor firefox" >&2 && return 1 ;;
        esac
    done
}

browsers
case $1 in
    machine) printf '%s\n' "${GRID[@]}" "${MACHINE[@]}" ;;
    container) printf '%s\n' "${GRID[@]}" "${CONTAINER[@]}" ;;
esac
