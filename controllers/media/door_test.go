package media

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The door is open to whoever reaches it: what it takes of a request is bounded.
func TestTheMediaDoorTakesNoLargeHeaders(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.Config = mediaServer(t.Context(), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Start()
	defer server.Close()
	for size, want := range map[int]int{1 << 10: http.StatusOK, 4 * maxMediaHeader: http.StatusRequestHeaderFieldsTooLarge} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Filler", strings.Repeat("x", size))
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != want {
			t.Errorf("%d bytes of a header: %s, %v, want %d", size, resp.Status, err, want)
		}
	}
}
