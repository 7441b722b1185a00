package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/beskar7/beskar7/test/emulator"
)

const help = `GET    /servers                          all servers and their states
GET    /servers/NAME                     one; NAME may be a pattern such as server-00*
GET    /servers/NAME/events              what happened to it
GET    /servers/NAME/requests            what was asked of its BMC
PUT    /servers/NAME/faults/FAULT?arg=A  switch a fault on
DELETE /servers/NAME/faults/FAULT        off
DELETE /servers/NAME/faults              all off
POST   /servers/NAME/press               press its power button
POST   /servers/NAME/cut                 cut its AC for a moment
POST   /servers/NAME/unplug, .../plug    its BMC's cable
POST   /servers/NAME/reboot              restart its BMC
POST   /servers/NAME/logout              end all sessions at its BMC
GET    /judge?cooldown=10s               how the requests were spread
GET    /faults, /personas                what there is
`

// control is the endpoint by which a person acts on a running fleet.
type control struct{ fleet *emulator.Fleet }

// serveControl listens on a loopback address and returns how to end it.
func serveControl(f *emulator.Fleet, addr string) (end func(), url string, err error) {
	a, err := netip.ParseAddrPort(addr)
	if err != nil || !a.Addr().IsLoopback() {
		return nil, "", fmt.Errorf("control address %q is no loopback address with a port", addr)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, "", fmt.Errorf("listen for control: %w", err)
	}
	srv := &http.Server{Handler: newControl(f), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	return func() { _ = srv.Close(); <-done }, "http://" + ln.Addr().String(), nil
}

func newControl(f *emulator.Fleet) http.Handler {
	c, mux := &control{f}, http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, help) })
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { show(w, emulator.Faults()) })
	mux.HandleFunc("GET /personas", func(w http.ResponseWriter, _ *http.Request) { show(w, emulator.PersonaInfos()) })
	mux.HandleFunc("GET /judge", c.judge)
	mux.HandleFunc("GET /servers", func(w http.ResponseWriter, _ *http.Request) { show(w, describe(f.BMCs())) })
	c.read(mux, "", func(b *emulator.BMC) any { return describe([]*emulator.BMC{b})[0] })
	c.read(mux, "/events", func(b *emulator.BMC) any { return b.Events() })
	c.read(mux, "/requests", func(b *emulator.BMC) any { return b.Requests() })
	c.act(mux, "PUT", "/faults/{fault}", func(b *emulator.BMC, r *http.Request) error {
		return b.SetFault(r.PathValue("fault"), r.URL.Query().Get("arg"))
	})
	c.act(mux, "DELETE", "/faults/{fault}", func(b *emulator.BMC, r *http.Request) error {
		b.ClearFault(r.PathValue("fault"))
		return nil
	})
	for what, f := range map[string]func(*emulator.BMC){
		"press": (*emulator.BMC).PressPower, "cut": (*emulator.BMC).CutPower, "reboot": (*emulator.BMC).Reboot, "logout": (*emulator.BMC).EndSessions,
	} {
		c.act(mux, "POST", "/"+what, func(b *emulator.BMC, _ *http.Request) error { f(b); return nil })
	}
	c.act(mux, "DELETE", "/faults", func(b *emulator.BMC, _ *http.Request) error { b.ClearFaults(); return nil })
	c.act(mux, "POST", "/unplug", func(b *emulator.BMC, _ *http.Request) error { return b.Unplug(true) })
	c.act(mux, "POST", "/plug", func(b *emulator.BMC, _ *http.Request) error { return b.Unplug(false) })
	return mux
}

// read serves a GET below /servers/NAME: one answer, or a list for a pattern.
func (c *control) read(mux *http.ServeMux, path string, f func(*emulator.BMC) any) {
	mux.HandleFunc("GET /servers/{name}"+path, func(w http.ResponseWriter, r *http.Request) {
		bmcs, err := matching(c.fleet, r.PathValue("name"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		if b := c.fleet.Get(r.PathValue("name")); b != nil {
			show(w, f(b))
			return
		}
		all := make(map[string]any, len(bmcs))
		for _, b := range bmcs {
			all[b.Name()] = f(b)
		}
		show(w, all)
	})
}

// act serves a change of all servers that match.
func (c *control) act(mux *http.ServeMux, method, path string, f func(*emulator.BMC, *http.Request) error) {
	mux.HandleFunc(method+" /servers/{name}"+path, func(w http.ResponseWriter, r *http.Request) {
		bmcs, err := matching(c.fleet, r.PathValue("name"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		var failed []error
		for _, b := range bmcs {
			failed = append(failed, f(b, r))
		}
		if err := errors.Join(failed...); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		show(w, describe(bmcs))
	})
}

func (c *control) judge(w http.ResponseWriter, r *http.Request) {
	cooldown := time.Duration(0)
	if v := r.URL.Query().Get("cooldown"); v != "" {
		var err error
		if cooldown, err = time.ParseDuration(v); err != nil {
			http.Error(w, "cooldown is no duration", http.StatusBadRequest)
			return
		}
	}
	show(w, c.fleet.Judge(cooldown, time.Time{}))
}

// server is a server as shown.
type server struct {
	Name, Persona, Address, System string
	Faults                         map[string]string
	State                          emulator.State
}

// describe shows servers; image URLs may be capabilities and are left out.
func describe(bmcs []*emulator.BMC) []server {
	all := make([]server, 0, len(bmcs))
	for _, b := range bmcs {
		s := b.State()
		for i := range s.Slots {
			s.Slots[i].Image = ""
		}
		all = append(all, server{b.Name(), b.Persona(), b.URL(), b.SystemID(), b.ActiveFaults(), s})
	}
	return all
}

func show(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // a client that went away is not our failure
}
