package crash

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// What a medium is made of is recorded in a Secret of its own. That costs each provisioning one request to make it, one to close it
// once the host is bound, and one to delete it, and no more.
func TestARecordOfAMediumCostsThreeWrites(t *testing.T) {
	for _, leader := range []bool{false, true} {
		var asked map[string]int
		synctest.Test(t, func(*testing.T) {
			w := newWorld(life{leader: leader, boot: v1beta1.BootModeLive, lag: 1, report: succeeds})
			if why := w.play(); why != "" {
				t.Error(why)
			}
			asked = map[string]int{}
			for _, what := range w.asked {
				verb, object, _ := strings.Cut(what, " ")
				if kind, name, _ := strings.Cut(object, " "); kind == "Secret" && strings.Contains(name, "medium") && verb != "get" {
					asked[verb]++
				}
			}
		})
		if want := map[string]int{"create": 1, "patch": 1, "delete": 1}; !maps.Equal(asked, want) {
			t.Errorf("leader %v: %v, not %v", leader, asked, want)
		}
	}
}
