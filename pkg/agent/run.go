package agent

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/beskar7/beskar7/pkg/agent/fetch"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

// Options are what a run needs.
type Options struct {
	Seed  *protocol.Seed
	Hands Hands
	// Version is that of the agent.
	Version string
	// Log is told what happens, in lines without secrets; nil tells nobody.
	Log func(line string)
	// Retry is the pause after a call that failed; 0 is five seconds. LastWord is how long the last word is offered to a manager
	// that does not answer; 0 is half an hour.
	Retry, LastWord time.Duration
	// DiskWait is how long a disk may take to appear, as some behind controllers that look at one after the other; 0 is a minute.
	DiskWait time.Duration
	// Fetch are the times of downloads, and Poll how often a disk that erases itself is asked. Zero values are those of the packages.
	Fetch fetch.Options
	Poll  time.Duration
}

// Run is one run of the agent: it calls until it gets a plan, carries it out, and returns when the manager has heard how it ended,
// or does not answer for too long. Whatever it returns, the server is to be powered off. The error is for the console: the manager
// was told all that it can be told.
func Run(ctx context.Context, o Options) error {
	c, err := newClient(o.Seed)
	if err != nil {
		return err
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	o.Retry, o.LastWord = cmp.Or(o.Retry, 5*time.Second), cmp.Or(o.LastWord, 30*time.Minute)
	o.DiskWait = cmp.Or(o.DiskWait, time.Minute)
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	r := &run{o: o, client: c, id: hex.EncodeToString(id[:])}
	plan, report, err := r.plan(ctx)
	if err != nil || plan == nil {
		return err
	}
	return r.carryOut(ctx, plan, report)
}

type run struct {
	o      Options
	client *client
	id     string
}

func (r *run) say(format string, args ...any) { r.o.Log(fmt.Sprintf(format, args...)) }

// plan reports what is there until it is answered with a plan. It returns none if the manager says that there will be none.
func (r *run) plan(ctx context.Context) (*protocol.Plan, *protocol.Report, error) {
	for {
		report, err := r.o.Hands.Report(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("see what is on this server: %w", err)
		}
		report.Agent = r.o.Version
		answer, err := r.client.call(ctx, &protocol.Call{Run: r.id, Report: report})
		if refused, ok := errors.AsType[*refusedError](err); ok {
			return nil, nil, refused
		}
		if err != nil {
			r.say("%v", err)
			if err := pause(ctx, r.o.Retry); err != nil {
				return nil, nil, err
			}
			continue
		}
		r.setClock(answer.Time)
		if answer.Message != "" {
			r.say("%s", answer.Message)
		}
		switch {
		case answer.Verdict == protocol.VerdictAbort || answer.Verdict == protocol.VerdictDone:
			r.say("the manager wants nothing more of this server")
			return nil, nil, nil
		case answer.Plan != nil:
			return answer.Plan, report, nil
		}
		if err := pause(ctx, time.Duration(answer.NextSeconds)*time.Second); err != nil {
			return nil, nil, err
		}
	}
}

// setClock believes the manager, who was verified, more than the server's own clock.
func (r *run) setClock(t time.Time) {
	const close = time.Minute
	if off := time.Since(t); off < close && off > -close {
		return
	}
	if err := r.o.Hands.SetClock(t); err != nil {
		r.say("the clock is wrong and cannot be set: %v", err)
		return
	}
	r.say("the clock was wrong and is set to %s", t.UTC().Format(time.RFC3339))
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// imageClient is for the servers of images.
func (r *run) imageClient(image *protocol.Image) (*http.Client, error) {
	text, digest := image.CA, ""
	if text == "" {
		text, digest = r.o.Seed.CA, r.o.Seed.CADigest
	}
	trusted, err := newTrust(text, digest)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: trusted.transport()}, nil
}
