package bmcqueue

import "time"

// specKey is what is promised about a credential that hosts share.
type specKey struct {
	state   string // "untried", "proven", "refused"
	round   int
	canary  *specRun
	refuser string
	probeAt time.Time
}

// keyOf is what a host logs in with; nil if nobody said.
func (s *spec) keyOf(host string) *specKey { return s.keys[s.uses[host]] }

func (s *spec) use(host, key string) (replaced bool) {
	old := s.uses[host]
	if old == key {
		return false
	}
	s.uses[host] = key
	if key != "" && s.keys[key] == nil {
		s.keys[key] = &specKey{state: "untried"}
	}
	if old == "" {
		return false
	}
	s.reconsider(old)
	return true
}

// reconsider forgets a key without hosts, and has one tried in a minute that nobody uses where it was refused.
func (s *spec) reconsider(key string) {
	used, usedThere := false, false
	for host, k := range s.uses {
		if k != key {
			continue
		}
		used = true
		w := s.waitingOf(host, nil)
		usedThere = usedThere || s.polls[host] == s.keys[key].refuser || w != nil && w.op.Endpoint == s.keys[key].refuser
	}
	k := s.keys[key]
	if !used {
		delete(s.keys, key)
	} else if soon := s.now.Add(time.Minute); !usedThere && k.state == "refused" && k.probeAt.After(soon) {
		k.probeAt = soon
	}
}

// held says why a host must not log in now; "" if it may.
func (s *spec) held(host, endpoint string) string {
	k := s.keyOf(host)
	switch {
	case k == nil || k.state == "proven":
	case k.state == "refused" && s.now.Before(k.probeAt):
		return "its credential was refused elsewhere"
	case k.state == "refused" && k.refuser == endpoint && s.now.Before(k.probeAt.Add(30*time.Second)):
		return "another endpoint probes first"
	case k.state == "untried" && k.canary != nil && k.canary.end != endpoint && s.now.Before(k.canary.began.Add(30*time.Second)):
		return "another endpoint tries its credential"
	}
	return ""
}

func (s *spec) startedKey(host string, r *specRun) {
	k := s.keyOf(host)
	if k == nil {
		return
	}
	r.key, r.host, r.round, r.began = k, host, k.round, s.now
	if k.state != "proven" {
		k.state, k.canary = "untried", r
	}
}

func (s *spec) completedKey(r *specRun, res Result, void bool) {
	k := r.key
	if k == nil {
		return
	}
	if k.canary == r {
		k.canary = nil
	}
	switch {
	case s.keyOf(r.host) != k: // nobody knows which one it logged in with
	case res.Failure == LoginFailed && !void && k.state == "proven":
		k.refuser = r.end
		s.doubt(k)
	case res.Failure == LoginFailed && !void:
		k.state, k.canary, k.refuser, k.probeAt = "refused", nil, r.end, s.now.Add(time.Hour)
	case res.Failure == None && k.round == r.round:
		k.state, k.canary = "proven", nil
	}
}

func (s *spec) doubt(k *specKey) {
	k.state, k.canary = "untried", nil
	k.round++
}

// forgiven: an endpoint was reset; all says that a person asked.
func (s *spec) forgiven(endpoint string, all bool) {
	forgive := func(host string) {
		if k := s.keyOf(host); k != nil && k.state == "refused" && (all || k.refuser == endpoint) {
			s.doubt(k)
		}
	}
	for host, at := range s.polls {
		if at == endpoint {
			forgive(host)
		}
	}
	for _, w := range s.live {
		if !w.running && w.op.Endpoint == endpoint {
			forgive(w.op.Host)
		}
	}
}

// groupFull says that the group of o has as many in flight as it may.
func (s *spec) groupFull(o Op) bool {
	n := 0
	for r, sr := range s.flying {
		if sr.wish != nil && r.request.Group == o.Group {
			n++
		}
	}
	limit := s.settings.GroupCaps[o.Group]
	return o.Group != "" && limit > 0 && n >= limit
}
