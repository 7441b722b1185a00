#!/bin/bash
# initramfs.sh ROOT FILE: busybox, the modules listed in ROOT/modules, and init. Nothing waits for udev.
set -eu -o pipefail
root=$1 file=$2
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/{bin,proc,sys,dev,run,medium,lower,upper,root,lib/modules}
cp "$root/bin/busybox" "$tree/bin/busybox"
install -m 755 "$here/init" "$tree/init"
while read -r path; do
	name=$(basename "$path")
	cp "$root$path" "$tree/lib/modules/$name"
	echo "$name" >>"$tree/lib/modules/order"
done <"$root/modules"
rm "$root/modules"
find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
(cd "$tree" && find . | sort | cpio --quiet --reproducible -o -H newc -R 0:0) | zstd -q -3 -T1 >"$file"
