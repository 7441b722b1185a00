package redfish

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
)

// patch sends one PATCH. Where the BMC refuses it for the lack, or the want, of
// an If-Match (412, 428), it is sent again with another: such a refusal says
// that nothing was done. What worked is learned.
func (c *client) patch(ctx context.Context, op, link string, body any) (*response, error) {
	form := c.tagForm()
	tag, err := c.tagFor(ctx, op, link, form, false)
	if err != nil {
		return nil, err
	}
	send := func(tag string) (*response, error) {
		var header map[string]string
		if tag != "" {
			header = map[string]string{"If-Match": tag}
		}
		return c.conn.do(ctx, request{op: op, method: http.MethodPatch, link: link, body: body, header: header})
	}
	resp, err := send(tag)
	if !wantsOtherTag(err) {
		return resp, err
	}
	exact, readErr := c.tagFor(ctx, op, link, tagExact, true)
	if readErr != nil {
		return nil, readErr
	}
	sent := []string{tag}
	for _, other := range []struct {
		tag  string
		form patchTagForm
	}{{exact, tagExact}, {strings.TrimPrefix(exact, "W/"), tagExact}, {"*", tagAny}, {"", tagOmitted}} {
		if slices.Contains(sent, other.tag) {
			continue
		}
		if sent = append(sent, other.tag); other.tag == "" {
			other.form = tagOmitted // also where the resource has no tag
		}
		if resp, err = send(other.tag); !wantsOtherTag(err) {
			if err == nil && other.form != form {
				c.learn(func(l *learned) { l.IfMatch = tagWords[other.form] })
			}
			return resp, err
		}
	}
	return resp, err
}

func (c *client) tagForm() patchTagForm {
	for form, word := range tagWords {
		if c.know().IfMatch == word {
			return patchTagForm(form)
		}
	}
	return c.row().patchTag
}

// wantsOtherTag: refused for its If-Match alone.
func wantsOtherTag(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Status == http.StatusPreconditionFailed || e.Status == http.StatusPreconditionRequired ||
		e.Status >= 400 && e.Status < 500 && e.refusal.has("preconditionrequired", "preconditionfailed", "headermissing") && !e.LoginFailed
}

// tagFor is the If-Match of the form. An exact one is the last that was read,
// or, if none was or fresh is wanted, read now.
func (c *client) tagFor(ctx context.Context, op, link string, form patchTagForm, fresh bool) (string, error) {
	switch form {
	case tagOmitted:
		return "", nil
	case tagAny:
		return "*", nil
	case tagExact:
	}
	if tag := c.knownTag(link); tag != "" && !fresh {
		return tag, nil
	}
	var doc struct {
		Tag text `json:"@odata.etag"`
	}
	resp, err := c.conn.get(ctx, op, link, &doc)
	if err != nil {
		return "", err
	}
	tag := resp.header.Get("ETag")
	if tag == "" {
		tag = string(doc.Tag)
	}
	return tag, nil
}

func (c *client) knownTag(link string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.learned.tags[link]
}
