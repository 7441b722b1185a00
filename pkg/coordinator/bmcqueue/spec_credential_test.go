package bmcqueue

import "time"

// specKey is what is promised about a credential that hosts share.
type specKey struct {
	state   string // "untried", "proven", "refused"
	round   int
	canary  *specRun
	refused map[string]int // endpoints that did since it worked last, and in which order
	order   int
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
		s.keys[key] = &specKey{state: "untried", refused: map[string]int{}}
	}
	s.recall(key)
	if old == "" {
		return false
	}
	s.reconsider(old)
	return true
}

// parkedBefore: a refusal of before a restart counts as one of this process does.
func (s *spec) parkedBefore(endpoint, key string, until time.Time) {
	if key == "" {
		return
	}
	if s.before[key] == nil {
		s.before[key] = map[string]time.Time{}
	}
	s.before[key][endpoint] = until
	s.recall(key)
}

func (s *spec) recall(key string) {
	k := s.keys[key]
	if k == nil {
		return
	}
	for endpoint, until := range s.before[key] {
		if k.state != "proven" && s.now.Before(until) {
			k.order++
			k.refused[endpoint] = k.order
		}
	}
	for _, until := range s.before[key] {
		if k.state == "proven" || !s.now.Before(until) || len(k.refused) < 2 {
			continue
		}
		k.state, k.canary = "refused", nil
		if until.After(k.probeAt) {
			k.probeAt = until
		}
	}
	delete(s.before, key)
}

// reconsider forgets a key without hosts, and has one tried in a minute that nobody uses where it was refused.
func (s *spec) reconsider(key string) {
	used, usedThere := false, map[string]bool{}
	for host, k := range s.uses {
		if k != key {
			continue
		}
		used = true
		for refuser := range s.keys[key].refused {
			if w := s.waitingOf(host, nil); s.polls[host] == refuser || w != nil && w.op.Endpoint == refuser {
				usedThere[refuser] = true
			}
		}
	}
	k := s.keys[key]
	if !used {
		delete(s.keys, key)
	} else if soon := s.now.Add(time.Minute); len(usedThere) < 2 && k.state == "refused" && k.probeAt.After(soon) {
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
	case k.state == "refused" && k.refused[endpoint] > 0 && s.now.Before(k.probeAt.Add(30*time.Second)):
		return "another endpoint probes first"
	case k.state == "untried" && k.canary != nil && k.canary.end != endpoint && s.now.Before(k.canary.began.Add(map[bool]time.Duration{false: 2 * time.Second, true: 30 * time.Second}[k.canary.heard])):
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
	case res.Failure == LoginFailed && !void:
		k.order++
		k.refused[r.end] = k.order
		if k.state == "proven" || len(k.refused) < 2 {
			s.doubt(k)
			return
		}
		k.state, k.canary, k.probeAt = "refused", nil, s.now.Add(time.Hour)
	case res.Failure == None && k.round == r.round:
		k.state, k.canary = "proven", nil
		clear(k.refused)
	}
}

func (s *spec) doubt(k *specKey) {
	k.state, k.canary = "untried", nil
	k.round++
}

// forgiven: an endpoint was reset; all says that a person asked.
func (s *spec) forgiven(endpoint string, all bool) {
	forgive := func(host string) {
		k := s.keyOf(host)
		if k == nil {
			return
		}
		here := k.refused[endpoint] > 0
		delete(k.refused, endpoint)
		if k.state == "refused" && (all || here) {
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
