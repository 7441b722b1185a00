#!/bin/bash
# Makes the fresh Debian system in $1 the live system.
set -eu -o pipefail
root=$1
here=$(cd "$(dirname "$0")" && pwd)

chroot "$root" dpkg-query -W -f '${Package} ${Version}\n' | sort >"$root/packages"

# What the initramfs loads, each after what it needs.
for m in virtio_pci virtio_blk virtio_scsi ahci ata_piix xhci_pci ehci_pci uhci_hcd usb_storage uas sd_mod sr_mod cdrom isofs loop squashfs overlay vfat nls_cp437 nls_ascii nls_iso8859-1 nls_utf8; do
	chroot "$root" modprobe -S "$(ls "$root/lib/modules")" --show-depends "$m" 2>/dev/null | sed -n 's/^insmod //p' | sed 's/ .*//' || true # built in, or not of this kernel
done | awk '!seen[$0]++' >"$root/modules"
for m in squashfs ahci usb-storage virtio_scsi; do # the medium may be in a drive on any of these
	grep -q "/$m\.ko" "$root/modules"
done
# Nothing on a medium that travels through a BMC is for machines of people: sound, screens, radios.
rm -rf "$root"/lib/modules/*/kernel/{sound,drivers/{gpu,media,net/wireless,staging,infiniband,isdn,bluetooth,iio}}
chroot "$root" depmod "$(ls "$root/lib/modules")"

install -m 755 "$here/kubeadm" "$root/usr/bin/kubeadm"
install -m 755 "$here/install-to-disk" "$root/usr/sbin/install-to-disk"
install -m 644 "$here/cloud.cfg" "$root/etc/cloud/cloud.cfg"
find "$root/etc/cloud/cloud.cfg.d" -type f ! -name 05_logging.cfg -delete
echo live >"$root/etc/hostname"
printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
: >"$root/etc/fstab"
: >"$root/etc/machine-id" # each boot draws its own
ln -sf /dev/null "$root/etc/systemd/network/99-default.link" # names as the kernel gives them: eth0

# The console shows what happens. Nobody logs in, so there is no getty.
mkdir -p "$root/etc/systemd/system.conf.d" "$root/etc/systemd/journald.conf.d"
printf '[Manager]\nShowStatus=yes\nDefaultTimeoutStartSec=300s\nDefaultTimeoutStopSec=20s\n' >"$root/etc/systemd/system.conf.d/live.conf"
printf '[Journal]\nStorage=volatile\n' >"$root/etc/systemd/journald.conf.d/live.conf"

chroot "$root" systemctl --quiet enable systemd-networkd.service
# What an emulated processor would only wait for.
chroot "$root" systemctl --quiet mask getty.target getty@.service serial-getty@.service systemd-timesyncd.service systemd-update-utmp.service \
	systemd-update-utmp-runlevel.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
	fstrim.timer systemd-tmpfiles-clean.timer systemd-udev-settle.service systemd-networkd-wait-online.service ldconfig.service \
	systemd-journal-flush.service systemd-pstore.service systemd-hwdb-update.service systemd-journal-catalog-update.service \
	systemd-firstboot.service systemd-binfmt.service cloud-init-hotplugd.socket systemd-random-seed.service >/dev/null 2>&1
chroot "$root" systemctl --quiet set-default multi-user.target

# Different at each build, and needed by nobody.
rm -rf "$root"/var/cache/* "$root"/var/log/* "$root"/var/lib/apt/lists/* "$root"/var/lib/dpkg/*-old "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* \
	"$root"/etc/apt/apt.conf.d/99mmdebstrap "$root"/etc/resolv.conf "$root"/etc/ssh/ssh_host_* "$root"/var/lib/dbus/machine-id "$root"/var/lib/systemd/random-seed "$root"/tmp/* \
	"$root"/etc/*- "$root"/var/lib/systemd/catalog/database "$root"/usr/share/info "$root"/usr/share/locale "$root"/var/lib/apt/extended_states
