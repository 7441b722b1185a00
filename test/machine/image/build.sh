#!/bin/bash
# Builds a live image from Debian packages alone: kernel, systemd, the real cloud-init, a stand-in for kubeadm that records how it
# was called. One ISO that boots on BIOS and UEFI. Usage: build.sh FOLDER. Writes FOLDER/live.iso and FOLDER/live.packages.
#
# The same packages give the same bytes: times are SOURCE_DATE_EPOCH, orders are sorted, nothing random is left in. An image whose
# inputs (this folder) did not change is not built again; delete it to take newer packages.
# Needs root or user namespaces, and: mmdebstrap squashfs-tools grub-common grub-pc-bin grub-efi-amd64-bin mtools xorriso cpio zstd.
set -eu -o pipefail
export LC_ALL=C TZ=UTC
umask 022

here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: build.sh FOLDER}
suite=${SUITE:-bookworm}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1767225600} # 2026-01-01
mkdir -p "$out"
out=$(cd "$out" && pwd)

inputs=$(cd "$here" && { echo "$suite $SOURCE_DATE_EPOCH"; find . -type f | sort | xargs sha256sum; } | sha256sum | cut -d' ' -f1)
if [ -s "$out/live.iso" ] && [ "$(cat "$out/live.inputs" 2>/dev/null)" = "$inputs" ]; then
	echo "machine image: $out/live.iso (unchanged)"
	exit 0
fi

# Where this machine's own Debian packages come from, if it is of the same suite and says so; else Debian's servers.
sources=${MACHINE_SOURCES:-}
for f in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
	if [ -z "$sources" ] && grep -qs "^[^#]*\b$suite\b" "$f"; then
		sources=$f
	fi
done

work=$(mktemp -d "$out/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

packages=linux-image-amd64,systemd-sysv,udev,dbus,cloud-init,iproute2,busybox-static,kmod,ca-certificates,dosfstools,fdisk
# From here on the folder is the root of the new system. Host keys, identities and caches differ from run to run: they go.
mmdebstrap --quiet --variant=minbase --include="$packages" \
	--aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Retries "3"' \
	--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
	--customize-hook="$here/customize.sh"' "$1"' \
	"$suite" "$work/root" ${sources:+"$sources"}

cp "$work"/root/boot/vmlinuz-* "$work/vmlinuz"
mv "$work/root/packages" "$out/live.packages"
bash "$here/initramfs.sh" "$work/root" "$work/initrd"

mkdir -p "$work/iso/live" "$work/iso/boot/grub"
rm -rf "$work"/root/boot/* "$work"/root/vmlinuz* "$work"/root/initrd*
mksquashfs "$work/root" "$work/iso/live/root.squashfs" -quiet -no-progress -comp zstd -Xcompression-level 6 -b 128K -no-xattrs -processors 2
mv "$work/vmlinuz" "$work/initrd" "$work/iso/live/"
cp "$here/grub.cfg" "$work/iso/boot/grub/grub.cfg"

# The same loader for a system that this image installs on a disk: as an EFI program, and for BIOS as a boot sector and the sectors
# from 34 on, where install-to-disk makes a partition for them. The first names the sector of the second, and that the one after.
modules="normal linux fat part_gpt search search_fs_file serial terminal echo"
grub-mkimage -O x86_64-efi -o "$work/iso/live/disk.efi" -p /boot/grub -c "$here/disk.cfg" $modules
grub-mkimage -O i386-pc -o "$work/iso/live/disk.bios" -p /boot/grub -c "$here/disk.cfg" biosdisk $modules
[ "$(stat -c %s "$work/iso/live/disk.bios")" -le $((2014 * 512)) ]
head -c 440 /usr/lib/grub/i386-pc/boot.img >"$work/iso/live/disk.mbr"
printf '\42\0\0\0\0\0\0\0' | dd of="$work/iso/live/disk.mbr" bs=1 seek=92 conv=notrunc status=none
printf '\43\0\0\0\0\0\0\0' | dd of="$work/iso/live/disk.bios" bs=1 seek=500 conv=notrunc status=none
find "$work/iso" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

# A FAT volume has a random serial number unless it is told one.
mkdir "$work/bin"
printf '#!/bin/sh\nexec %s -N 20260101 "$@"\n' "$(command -v mformat)" >"$work/bin/mformat"
chmod +x "$work/bin/mformat"
export PATH="$work/bin:$PATH"

stamp=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S00)
grub-mkrescue --quiet -o "$work/live.iso" "$work/iso" --locales= --fonts= --themes= \
	--install-modules="normal linux iso9660 part_msdos part_gpt search search_fs_file serial terminal echo" \
	-- -joliet on -volid LIVE -volume_date uuid "$stamp" -volume_date all_file_dates "=$SOURCE_DATE_EPOCH" -alter_date_r b-c "=$SOURCE_DATE_EPOCH" / -- 2>"$work/grub.log" || {
	cat "$work/grub.log" >&2
	exit 1
}
mv "$work/live.iso" "$out/live.iso"
echo "$inputs" >"$out/live.inputs"
echo "machine image: $out/live.iso ($(du -m "$out/live.iso" | cut -f1) MiB)"
