package redfish

import (
	"context"
	"slices"
)

// readManager reads the manager of the system: the one it is managed by, else
// the only one, else the one that names the system.
func (c *client) readManager(ctx context.Context, op string) (*managerDoc, error) {
	path := c.know().Manager
	known := path != ""
	for {
		if path == "" {
			found, err := c.findManager(ctx, op)
			if err != nil {
				return nil, err
			}
			path = found
		}
		var doc managerDoc
		_, err := c.conn.get(ctx, op, path, &doc)
		if KindOf(err) == KindNotFound {
			c.learn(func(l *learned) { l.Manager = "" })
			if known { // it was moved: not there any more does not mean that there is none
				path, known = "", false
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		if doc.ID == "" {
			doc.ID = text(lastSegment(path))
		}
		c.learn(func(l *learned) {
			l.Manager = path
			l.hearManager(c.vendorName, &doc)
			media := string(doc.VirtualMedia)
			l.managerMedia = &media
		})
		return &doc, nil
	}
}

func (c *client) findManager(ctx context.Context, op string) (string, error) {
	facts, system, err := c.systemFacts(ctx, op)
	if err != nil {
		return "", err
	}
	for _, m := range facts.managers {
		if m != "" {
			return string(m), nil
		}
	}
	root, rootErr := c.conn.serviceRoot(ctx)
	if rootErr != nil {
		return "", c.conn.fail(op, rootErr)
	}
	if root.Managers == "" {
		return "", c.conn.fail(op, &Error{Kind: KindNotFound, Message: "the BMC publishes no manager"})
	}
	paths, _, err := c.members(ctx, op, string(root.Managers))
	if err != nil {
		return "", err
	}
	if len(paths) == 1 {
		return paths[0], nil
	}
	for _, p := range paths {
		var doc managerDoc
		if _, err := c.conn.get(ctx, op, p, &doc); err != nil {
			return "", err
		}
		if slices.ContainsFunc(doc.Links.v.ManagerForServers, func(l link) bool { return trimSlash(string(l)) == trimSlash(system) }) {
			return p, nil
		}
	}
	return "", c.conn.fail(op, &Error{Kind: KindNotFound, Message: "no manager of the BMC names the system"})
}
