package redfish

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

const (
	// maxPages and maxMembers bound a collection: a nextLink that points to itself
	// would be followed for ever.
	maxPages   = 10
	maxMembers = 512
	// maxNamed bounds lists of ids in messages.
	maxNamed = 8
)

// client is the BMC interface for one system over a conn.
type client struct {
	conn       *conn
	settings   connKey
	systemID   string
	vendorName string

	// mu guards what was learned; it is not held across I/O.
	mu      sync.Mutex
	learned learned
	// reading is the inventory under way.
	reading reading
}

// systemFacts are the fixed parts of the system resource.
type systemFacts struct {
	resetTarget string
	resetTypes  []string
	resetInfo   string
	bootTargets []string
	managers    []link
	media       link
	settings    string
	// hasMode: the system, or its pending settings, publish a boot mode.
	hasMode bool
}

func newClient(c *conn, settings connKey, t Target) *client {
	return &client{conn: c, settings: settings, systemID: t.SystemID, vendorName: t.Vendor, learned: recall(t)}
}

// Endpoint is scheme://host:port.
func (c *client) Endpoint() string { return c.conn.endpoint }

// Format prints the endpoint only, whatever the verb: the fields hold a session.
func (c *client) Format(s fmt.State, _ rune) { _, _ = fmt.Fprintf(s, "bmc(%s)", c.conn.endpoint) }

func (c *client) know() learned {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.learned
}

func (c *client) learn(change func(*learned)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.learned)
}

// members lists a collection. Members that are null or have no link are left
// out and counted in broken.
func (c *client) members(ctx context.Context, op, link string) (paths []string, broken int, err error) {
	seen := map[string]bool{}
	for page := 0; link != "" && page < maxPages && !seen[link]; page++ {
		seen[link] = true
		var doc collectionDoc
		if _, err := c.conn.get(ctx, op, link, &doc); err != nil {
			return nil, 0, err
		}
		valid := 0
		for _, m := range doc.Members {
			if m != "" && len(paths) < maxMembers && !slices.Contains(paths, string(m)) {
				paths = append(paths, string(m))
				valid++
			}
		}
		if page == 0 && doc.Next == "" {
			broken = max(doc.Count.count()-valid, len(doc.Members)-valid)
		}
		link = string(doc.Next)
	}
	return paths, max(broken, 0), nil
}

// systemPath finds the system once.
func (c *client) systemPath(ctx context.Context, op string) (string, error) {
	if path := c.know().System; path != "" {
		return path, nil
	}
	root, rootErr := c.conn.serviceRoot(ctx)
	if rootErr != nil {
		return "", c.conn.fail(op, rootErr)
	}
	systems := string(root.Systems)
	if systems == "" {
		systems = rootPath + "Systems"
	}
	paths, broken, err := c.members(ctx, op, systems)
	if err != nil {
		return "", err
	}
	path, choiceErr := chooseSystem(c.systemID, paths, broken)
	if choiceErr != nil {
		return "", c.conn.fail(op, choiceErr)
	}
	c.learn(func(l *learned) { l.System = path })
	return path, nil
}

// chooseSystem never guesses: several systems need an id, and a list that cannot
// be complete is no list.
func chooseSystem(id string, paths []string, broken int) (string, *Error) {
	ids := make([]string, len(paths))
	for i, p := range paths {
		ids[i] = lastSegment(p)
		if id != "" && ids[i] == id {
			return p, nil
		}
	}
	switch {
	case len(paths) == 0:
		return "", &Error{Kind: KindProtocol, Message: "the BMC lists no system: it may be restarting"}
	case broken > 0:
		return "", &Error{Kind: KindProtocol, Message: "the BMC's list of systems has gaps: it may be restarting"}
	case id != "":
		return "", &Error{Kind: KindNotFound, Message: "the BMC has no such system, it has " + named(ids) + ": correct systemID"}
	case len(paths) > 1:
		return "", &Error{Kind: KindNotFound, Message: "the BMC has several systems, " + named(ids) + ": choose one with systemID"}
	}
	return paths[0], nil
}

// named lists ids for a person, without letting the BMC write our messages.
func named(ids []string) string {
	var out []string
	for _, id := range ids[:min(len(ids), maxNamed)] {
		clean := strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return -1
			}
			return r
		}, id)
		out = append(out, clean[:min(len(clean), 64)])
	}
	if len(ids) > maxNamed {
		out = append(out, "...")
	}
	return strings.Join(out, ", ")
}

func lastSegment(path string) string {
	path = trimSlash(path)
	return path[strings.LastIndexByte(path, '/')+1:]
}

func trimSlash(path string) string { return strings.TrimRight(path, "/") }

func isAbsolute(link string) bool { return strings.Contains(link, "://") }

// readSystem reads the system by its path and learns its fixed parts.
func (c *client) readSystem(ctx context.Context, op string) (*systemDoc, error) {
	path, err := c.systemPath(ctx, op)
	if err != nil {
		return nil, err
	}
	var doc systemDoc
	resp, err := c.conn.get(ctx, op, path, &doc)
	if err != nil {
		if KindOf(err) == KindNotFound {
			c.learn(func(l *learned) { l.System, l.facts = "", nil })
		}
		return nil, err
	}
	root, rootErr := c.conn.serviceRoot(ctx)
	facts := doc.facts()
	c.learn(func(l *learned) {
		if l.facts != nil && len(facts.resetTypes) == 0 {
			facts.resetTypes = l.facts.resetTypes // from the ActionInfo resource
		}
		if l.facts != nil && len(facts.bootTargets) == 0 {
			facts.bootTargets = l.facts.bootTargets // from the settings resource
		}
		facts.hasMode = facts.hasMode || l.facts != nil && l.facts.hasMode // it, too
		l.facts, l.power = facts, powerState(string(doc.PowerState))
		l.tag(path, resp, doc.Tag)
		l.hearSystem(&doc)
		if rootErr == nil {
			l.hearRoot(root)
		}
	})
	return &doc, nil
}

func (d *systemDoc) facts() *systemFacts {
	reset := d.Actions.v.Reset.v
	return &systemFacts{
		resetTarget: string(reset.Target), resetTypes: strs(reset.Types), resetInfo: string(reset.Info),
		bootTargets: strs(d.Boot.v.Targets), hasMode: d.Boot.v.Mode.there,
		managers: d.Links.v.ManagedBy,
		media:    d.VirtualMedia,
		settings: string(d.Settings.v.Object),
	}
}

// systemFacts are known after any read of the system; else it is read now.
func (c *client) systemFacts(ctx context.Context, op string) (*systemFacts, string, error) {
	if l := c.know(); l.facts != nil && l.System != "" {
		return l.facts, l.System, nil
	}
	if _, err := c.readSystem(ctx, op); err != nil {
		return nil, "", err
	}
	l := c.know()
	if l.facts == nil { // a concurrent call found the system gone
		return nil, "", c.conn.fail(op, &Error{Kind: KindNotFound, Message: "the system is gone: the BMC may be restarting"})
	}
	return l.facts, l.System, nil
}

// row is the row of the vendor table, as far as the BMC is known.
func (c *client) row() *vendor {
	l := c.know()
	return chooseRow(c.vendorName, l.Vendor, l.by)
}

// confirmedRow is the row once everything is known that tells the rows of its family apart. The first time, that may cost one read
// of the manager.
func (c *client) confirmedRow(ctx context.Context, op string) (*vendor, error) {
	if _, _, err := c.systemFacts(ctx, op); err != nil {
		return nil, err
	}
	row, l := c.row(), c.know()
	if l.by.manager || strings.EqualFold(row.name, c.vendorName) || strings.EqualFold(row.name, l.Vendor) || onlyChild(row) {
		return row, nil
	}
	if _, err := c.readManager(ctx, op); err != nil && !leftOut(err) {
		return nil, err
	}
	c.learn(func(l *learned) { l.by.manager = true }) // asked once is enough
	return c.row(), nil
}

// onlyChild: no other row of the family to tell it from.
func onlyChild(row *vendor) bool {
	return !slices.ContainsFunc(vendors, func(v vendor) bool { return v.family == row.family && v.name != row.name })
}

// post sends one changing POST.
func (c *client) post(ctx context.Context, op, link string, body any) (*response, error) {
	return c.conn.do(ctx, request{op: op, method: http.MethodPost, link: link, body: body})
}
