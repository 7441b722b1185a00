#!/bin/bash
# Installs the Debian packages with which real machines are built and run, if one is missing. Usage: packages.sh
# Of them only the firmware and QEMU run in a story; the rest builds the live image.
set -eu -o pipefail

packages="qemu-system-x86 ovmf seabios mmdebstrap squashfs-tools grub-common grub-pc-bin grub-efi-amd64-bin mtools xorriso cpio zstd debian-archive-keyring"
missing=()
for p in $packages; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)" = installed ] || missing+=("$p")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

as=()
[ "$(id -u)" = 0 ] || as=(sudo)
echo "machine: installing ${missing[*]}"
"${as[@]}" apt-get update -qq
"${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
