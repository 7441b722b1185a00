package erase

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// secure has the disk destroy its contents by a command that is made for that. Without one it fails: a weaker way under this name
// would be a lie to the next tenant.
func (e *eraser) secure() error {
	nvme := e.disk.NVMe()
	if nvme == nil {
		return errors.New("it has no command for a secure erasure that is known here, as NVMe disks have it: " +
			"choose the method Discard for it, erase it by other means, or list it under erase.keep")
	}
	can, err := nvme.Abilities()
	if err != nil {
		return fmt.Errorf("its controller does not say what it can do: %w", err)
	}
	log, err := nvme.SanitizeLog()
	if err == nil && log.State == SanitizeRuns { // of a run that the power ended; nothing else works until it is done
		if _, err := e.sanitized(nvme); err != nil {
			return err
		}
	}
	samples, err := mark(e.disk)
	if err != nil {
		return err
	}
	if err := e.command(nvme, can); err != nil {
		return err
	}
	if err := e.disk.Sync(); err != nil {
		return fmt.Errorf("it fails: %w: replace it", err)
	}
	e.evidence.Samples = len(samples)
	kept, err := anyMarked(e.disk, samples)
	if err == nil && kept {
		err = errors.New("after it said that it was erased, it still gives back what was written before: replace it")
	}
	return err
}

// command chooses: sanitizing also reaches blocks that the disk keeps for itself, and a key is destroyed at once.
func (e *eraser) command(nvme NVMe, can Abilities) error {
	others := strings.Join(e.target.Neighbours, ", ")
	for _, way := range []struct {
		can    bool
		action Action
		how    string
	}{
		{can.CryptoErase, ActionCryptoErase, "NVMe Sanitize, crypto erase"},
		{can.BlockErase, ActionBlockErase, "NVMe Sanitize, block erase"},
		{can.Overwrite, ActionOverwrite, "NVMe Sanitize, overwrite"},
	} {
		if way.can && others == "" { // it takes all namespaces along
			return e.sanitize(nvme, way.action, way.how)
		}
	}
	switch {
	case !can.Format && others != "":
		return fmt.Errorf("it can only be erased together with %s, which the plan keeps: keep both or none", others)
	case !can.Format:
		return errors.New("it knows neither Sanitize nor Format NVM: choose the method Discard for it, or list it under erase.keep")
	case can.FormatsAll && others != "":
		return fmt.Errorf("its Format NVM would erase %s too, which the plan keeps: keep both or none", others)
	}
	setting := SettingUserData
	e.evidence.How = "NVMe Format NVM, user data erase"
	if can.FormatCrypto {
		setting = SettingCrypto
		e.evidence.How = "NVMe Format NVM, cryptographic erase"
	}
	if err := nvme.Format(e.ctx, setting); err != nil {
		return fmt.Errorf("%s failed: %w", e.evidence.How, err)
	}
	return nil
}

func (e *eraser) sanitize(nvme NVMe, action Action, how string) error {
	e.evidence.How = how
	if err := nvme.Sanitize(action); err != nil {
		return fmt.Errorf("%s was refused: %w", how, err)
	}
	log, err := e.sanitized(nvme)
	if err != nil {
		return err
	}
	e.evidence.Log = fmt.Sprintf("sanitize log: SSTAT %#04x", log.Raw)
	return nil
}

// sanitized waits until a sanitize operation is done. It goes on in the disk whatever happens here, over a power failure too.
func (e *eraser) sanitized(nvme NVMe) (SanitizeLog, error) {
	ticker := time.NewTicker(e.o.Poll)
	defer ticker.Stop()
	for {
		log, err := nvme.SanitizeLog()
		switch {
		case err != nil:
			return log, fmt.Errorf("its sanitize log cannot be read: %w", err)
		case log.State == SanitizeDone || log.State == SanitizeDoneForced:
			return log, nil
		case log.State != SanitizeRuns:
			return log, fmt.Errorf("its sanitize operation failed (SSTAT %#04x): replace it", log.Raw)
		}
		e.o.Progress(e.disk.Size()/65536*int64(log.Progress), e.disk.Size())
		select {
		case <-ticker.C:
		case <-e.ctx.Done():
			return log, context.Cause(e.ctx)
		}
	}
}
