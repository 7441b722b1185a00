package bootmedia

import (
	"context"
	"errors"
	"sync"
)

// background is work that goes on until it is closed.
type background struct {
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	gate   sync.Mutex // between start and Close
}

func newBackground() *background {
	b := &background{}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// Close ends the work and waits for it. What is half done stays on disk, and the next process goes on with it.
func (b *background) Close() {
	b.gate.Lock()
	b.cancel()
	b.gate.Unlock()
	b.tasks.Wait()
}

// start runs work, unless Close was called.
func (b *background) start(task func()) error {
	b.gate.Lock()
	defer b.gate.Unlock()
	if b.ctx.Err() != nil {
		return errors.New("the media server is closed")
	}
	b.tasks.Go(task)
	return nil
}
