//go:build !unix

package daemon

import "context"

// Run waits until the context ends: there is no such signal here.
func (d DumpOnSignal) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
