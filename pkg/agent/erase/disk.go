package erase

import (
	"context"

	"github.com/beskar7/beskar7/pkg/agent/block"
)

// Disk is a disk with the commands that it erases itself with.
type Disk interface {
	block.Device
	// Discard tells the disk that nobody needs a range any more. What the range reads as afterwards is up to the disk. An error
	// that is errors.ErrUnsupported says that it knows no such command.
	Discard(off, length int64) error
	// NVMe is the controller of the disk, and nil for what is no NVMe namespace.
	NVMe() NVMe
}

// NVMe is a controller, for one namespace on it (NVM Express Base Specification 2.0).
type NVMe interface {
	// Abilities are from Identify Controller.
	Abilities() (Abilities, error)
	// Format erases the namespace (Format NVM, with its own format) and returns when it is done.
	Format(ctx context.Context, s Setting) error
	// Sanitize begins to erase all namespaces of the subsystem; SanitizeLog says how far it is.
	Sanitize(a Action) error
	SanitizeLog() (SanitizeLog, error)
}

// Abilities are what a controller can do.
type Abilities struct {
	// CryptoErase, BlockErase and Overwrite are the sanitize operations (SANICAP bits 0, 1 and 2).
	CryptoErase, BlockErase, Overwrite bool
	// Format says whether Format NVM is known (OACS bit 1), FormatCrypto whether it can destroy keys (FNA bit 2).
	Format, FormatCrypto bool
	// FormatsAll says that the command is for all namespaces, whichever is named (FNA bits 0 and 1).
	FormatsAll bool
}

// Setting is a secure erase setting of Format NVM (SES).
type Setting int

// The settings.
const (
	SettingUserData Setting = 1
	SettingCrypto   Setting = 2
)

// Action is a sanitize action (SANACT).
type Action int

// The actions.
const (
	ActionBlockErase  Action = 2
	ActionOverwrite   Action = 3
	ActionCryptoErase Action = 4
)

// SanitizeLog is the sanitize status (log page 81h).
type SanitizeLog struct {
	// State is that of the last operation.
	State SanitizeState
	// Progress is in 65536ths.
	Progress uint16
	// Raw is the status field (SSTAT).
	Raw uint16
}

// SanitizeState is how a sanitize operation went (SSTAT bits 2:0).
type SanitizeState int

// The states.
const (
	SanitizeNever      SanitizeState = 0
	SanitizeDone       SanitizeState = 1
	SanitizeRuns       SanitizeState = 2
	SanitizeFailed     SanitizeState = 3
	SanitizeDoneForced SanitizeState = 4 // done, with deallocation that was not asked for
)
