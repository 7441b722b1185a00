#!/bin/sh
# Makes the images of this folder anew, with qemu-img and qemu-io of Debian's qemu-utils (7.2 made those that are committed), and
# sgdisk of its gdisk.
# disk.raw is what each of them holds that is not refused: a partition table, words, noise, and zeroes in between.
set -eu
cd "$(dirname "$0")"
rm -f ./*.gz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
raw=$work/disk.raw
truncate -s 1050112 "$raw" # 1 MiB and 3 sectors: the last cluster is not full
sgdisk -a 1 -U 11111111-2222-4333-8444-555555555555 -n 1:64:575 -u 1:11111111-2222-4333-8444-555555555551 "$raw" >/dev/null
yes 'words that come again' | dd of="$raw" bs=1024 seek=64 count=40 conv=notrunc iflag=fullblock status=none
openssl enc -aes-128-ctr -K 00 -iv 00 -in /dev/zero 2>/dev/null | dd of="$raw" bs=1024 seek=600 count=6 conv=notrunc iflag=fullblock status=none
printf end | dd of="$raw" bs=1 seek=1050109 conv=notrunc status=none

converted() { # name, options, more arguments
	name=$1 options=$2
	shift 2
	qemu-img convert -f raw -O qcow2 -o "$options" "$@" "$raw" "$work/$name.qcow2"
}
converted v2 compat=0.10,cluster_size=4096
converted v2-packed compat=0.10,cluster_size=65536 -c
converted v3 compat=1.1,cluster_size=65536
converted v3-512 compat=1.1,cluster_size=512
converted v3-2m compat=1.1,cluster_size=2M
converted v3-packed compat=1.1,cluster_size=4096 -c
converted v3-zstd compat=1.1,compression_type=zstd,cluster_size=65536 -c
converted extended compat=1.1,extended_l2=on,cluster_size=16384
converted extended-packed compat=1.1,extended_l2=on,cluster_size=65536 -c
# Clusters, and parts of clusters, that were written and then made zero.
for kind in zeroes:compat=1.1,cluster_size=65536 extended-zeroes:compat=1.1,extended_l2=on,cluster_size=65536; do
	name=${kind%%:*}
	converted "$name" "${kind#*:}"
	qemu-io -f qcow2 -c 'write -P 0xaa 262144 131072' -c 'write -z 262144 65536' -c 'write -z 327680 65536' "$work/$name.qcow2" >/dev/null
done
# What is in a snapshot is not what is on the disk.
converted snapshot compat=1.1,cluster_size=4096
qemu-io -f qcow2 -c 'write -P 0xbb 65536 65536' "$work/snapshot.qcow2" >/dev/null
qemu-img snapshot -c before "$work/snapshot.qcow2"
qemu-img convert -n -f raw -O qcow2 "$raw" "$work/snapshot.qcow2"

# What is refused.
qemu-img create -q -f qcow2 -F raw -b disk.raw "$work/backing.qcow2"
(cd "$work" && qemu-img create -q -f qcow2 -o data_file=data.raw,data_file_raw=on data-file.qcow2 1M)
qemu-img create -q -f qcow2 --object secret,id=s,data=x -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 "$work/encrypted.qcow2" 1M
truncate -s 65536 "$work/encrypted.qcow2" # the rest is keys, which do not pack
converted dirty compat=1.1,lazy_refcounts=on
qemu-io -f qcow2 -c 'write 700000 4096' -c abort "$work/dirty.qcow2" >/dev/null 2>&1 || true

for file in "$work"/*.qcow2 "$raw"; do
	gzip -9nc "$file" >"./$(basename "$file").gz"
done
