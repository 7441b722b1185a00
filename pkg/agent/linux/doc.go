// Package linux are the agent's hands on a real server: disks by sysfs and ioctl, ports and addresses by netlink, the firmware's
// boot entries by efivarfs, neighbours by LLDP, and the kernel's modules. All of sysfs is read below a root, so that tests can
// lay out the trees of servers that were seen.
package linux
