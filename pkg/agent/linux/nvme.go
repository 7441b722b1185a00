package linux

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/beskar7/beskar7/pkg/agent/erase"
)

// controller speaks to an NVMe controller through the device of one of its namespaces (linux/nvme_ioctl.h; NVM Express Base
// Specification 2.0c for the commands).
type controller struct{ file *os.File }

// adminCommand is struct nvme_admin_cmd.
type adminCommand struct {
	Opcode, Flags                                                   uint8
	_                                                               uint16
	Namespace, Word2, Word3                                         uint32
	Metadata, Address                                               uint64
	MetadataLength, DataLength                                      uint32
	Word10, Word11, Word12, Word13, Word14, Word15, Timeout, Result uint32
}

const (
	ioctlID    = 0x4E40     // NVME_IOCTL_ID
	ioctlAdmin = 0xC0484E41 // NVME_IOCTL_ADMIN_CMD

	opGetLog   = 0x02
	opIdentify = 0x06
	opFormat   = 0x80
	opSanitize = 0x84

	identifySize = 4096
	logSanitize  = 0x81

	// formatTimeout is for a whole disk whose cells are erased one after the other, in milliseconds.
	formatTimeout  = 4 * 60 * 60 * 1000
	commandTimeout = 60 * 1000
)

// admin sends a command, with data that it fills or takes.
func (c *controller) admin(command *adminCommand, data []byte) error {
	if len(data) > 0 {
		command.Address, command.DataLength = uint64(uintptr(unsafe.Pointer(&data[0]))), uint32(len(data)) //nolint:gosec // at most a page
	}
	if command.Timeout == 0 {
		command.Timeout = commandTimeout
	}
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	var status uintptr
	var errno unix.Errno
	err = raw.Control(func(fd uintptr) {
		status, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, ioctlAdmin, uintptr(unsafe.Pointer(command)))
	})
	runtime.KeepAlive(data)
	switch {
	case err != nil:
		return err
	case errno != 0:
		return errno
	case status != 0:
		return fmt.Errorf("the controller answers with status %#x", status)
	}
	return nil
}

// id is the number of the namespace.
func (c *controller) id() (uint32, error) {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var id uintptr
	var errno unix.Errno
	if err := raw.Control(func(fd uintptr) { id, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, ioctlID, 0) }); err != nil {
		return 0, err
	}
	if errno != 0 {
		return 0, errno
	}
	return uint32(id), nil //nolint:gosec // the kernel's number of a namespace
}

// Abilities implements erase.NVMe.
func (c *controller) Abilities() (erase.Abilities, error) {
	data := make([]byte, identifySize)
	if err := c.admin(&adminCommand{Opcode: opIdentify, Word10: 1}, data); err != nil {
		return erase.Abilities{}, err
	}
	return abilities(data), nil
}

// abilities reads Identify Controller: OACS at 256, SANICAP at 328, FNA at 524.
func abilities(data []byte) erase.Abilities {
	oacs, sanicap, fna := binary.LittleEndian.Uint16(data[256:]), binary.LittleEndian.Uint32(data[328:]), data[524]
	return erase.Abilities{
		CryptoErase: sanicap&1 != 0, BlockErase: sanicap&2 != 0, Overwrite: sanicap&4 != 0,
		Format: oacs&2 != 0, FormatCrypto: fna&4 != 0, FormatsAll: fna&3 != 0,
	}
}

// Format implements erase.NVMe: it keeps the format that the namespace has. The kernel waits for the end of the command, which
// nothing ends earlier.
func (c *controller) Format(_ context.Context, s erase.Setting) error {
	id, err := c.id()
	if err != nil {
		return err
	}
	data := make([]byte, identifySize)
	if err := c.admin(&adminCommand{Opcode: opIdentify, Namespace: id}, data); err != nil {
		return fmt.Errorf("read its format: %w", err)
	}
	return c.admin(&adminCommand{Opcode: opFormat, Namespace: id, Word10: formatWord(data, s), Timeout: formatTimeout}, nil)
}

// formatWord is command dword 10 of Format NVM, made of Identify Namespace: FLBAS at 26 (format in bits 3:0 and 6:5, metadata at the
// end of data in bit 4) and DPS at 29 (protection information).
func formatWord(data []byte, s erase.Setting) uint32 {
	flbas, dps := uint32(data[26]), uint32(data[29])
	format, metadata := flbas&0xF, flbas>>4&1
	upper := flbas >> 5 & 3
	protection, first := dps&7, dps>>3&1
	return format | metadata<<4 | protection<<5 | first<<8 | uint32(s)<<9 | upper<<12 //nolint:gosec // a setting has three bits
}

// Sanitize implements erase.NVMe. An overwrite goes over everything once.
func (c *controller) Sanitize(a erase.Action) error {
	return c.admin(&adminCommand{Opcode: opSanitize, Word10: sanitizeWord(a)}, nil)
}

func sanitizeWord(a erase.Action) uint32 {
	word := uint32(a) //nolint:gosec // an action has three bits
	if a == erase.ActionOverwrite {
		word |= 1 << 4
	}
	return word
}

// SanitizeLog implements erase.NVMe.
func (c *controller) SanitizeLog() (erase.SanitizeLog, error) {
	data := make([]byte, 512)
	command := &adminCommand{Opcode: opGetLog, Namespace: 0xFFFFFFFF, Word10: logSanitize | (512/4-1)<<16}
	if err := c.admin(command, data); err != nil {
		return erase.SanitizeLog{}, err
	}
	return sanitizeLog(data), nil
}

// sanitizeLog reads log page 81h: SPROG at 0, SSTAT at 2.
func sanitizeLog(data []byte) erase.SanitizeLog {
	progress, status := binary.LittleEndian.Uint16(data), binary.LittleEndian.Uint16(data[2:])
	return erase.SanitizeLog{State: erase.SanitizeState(status & 7), Progress: progress, Raw: status}
}
