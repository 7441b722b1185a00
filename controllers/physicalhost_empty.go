package controllers

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// notEmpty says what of others is on an unclaimed host: the medium, by its slot and the host that it comes from, or the override.
func notEmpty(g *gathered) (reason, what string) {
	var found []string
	for _, s := range g.observation.Slots {
		if !s.Empty() {
			found = append(found, mediumIn(s))
		}
	}
	if len(found) > 0 {
		reason = v1beta1.ReasonForeignMedia
	}
	if b := g.observation.State.Boot; b.Armed() {
		if reason == "" {
			reason = v1beta1.ReasonBootOverrideSet
		}
		found = append(found, "a boot override is set: "+overrideWords(b))
	}
	if len(found) == 0 { // what was read last says something else by now
		return v1beta1.ReasonForeignMedia, "virtual media are inserted or a boot override is set"
	}
	return reason, strings.Join(found, "; ")
}

// mediumIn says where a medium is and which host it comes from. Its URL is a secret as a whole: it may hold a password, or be the
// capability itself.
func mediumIn(s redfish.Slot) string {
	from := ""
	if u, err := url.Parse(strings.ReplaceAll(s.Image, `\`, "/")); err == nil && u.Hostname() != "" {
		from = " from host " + clip(u.Hostname(), 253)
	}
	return fmt.Sprintf("virtual media slot %s holds an image%s", s.ID, from)
}

func overrideWords(b redfish.BootOverride) string {
	if b.Enabled == redfish.OverrideContinuous {
		return b.Target + ", for every boot"
	}
	return b.Target + ", for the next boot"
}
