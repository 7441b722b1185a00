package replay

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
)

// Server answers as the captured BMC did. It can be read, and logged in to; whatever else is sent is refused with 405
// and kept. Safe for concurrent use; mu guards what was kept.
type Server struct {
	*httptest.Server

	capture Capture

	mu   sync.Mutex
	read []string
	sent []string
}

// Serve begins to serve; Close ends it.
func Serve(c Capture) *Server {
	s := &Server{capture: c}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(s.answer))
	return s
}

// Read are the paths that were asked for and are there, sorted, each once.
func (s *Server) Read() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.Clone(s.read)
	slices.Sort(out)
	return slices.Compact(out)
}

// Sent is what was to be changed since the last call: method, path and body.
func (s *Server) Sent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := s.sent
	s.sent = nil
	return sent
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	path := trim(r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Method == http.MethodGet:
		s.get(w, path, strings.Contains(r.URL.RawQuery, "expand"))
	case r.Method == http.MethodPost && path == s.sessions():
		w.Header().Set("X-Auth-Token", "replay")
		w.Header().Set("Location", path+"/replay")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "{}")
	case r.Method == http.MethodDelete && path == s.sessions()+"/replay":
		w.WriteHeader(http.StatusNoContent)
	default:
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20)) // what cannot be read is not judged
		s.mu.Lock()
		s.sent = append(s.sent, strings.TrimSpace(r.Method+" "+path+" "+string(body)))
		s.mu.Unlock()
		w.WriteHeader(http.StatusMethodNotAllowed)
		_, _ = io.WriteString(w, `{"error":{"code":"Base.1.8.OperationNotAllowed","message":"a capture cannot be changed"}}`)
	}
}

func (s *Server) get(w http.ResponseWriter, path string, expand bool) {
	doc, ok := s.capture[path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":{"code":"Base.1.8.ResourceMissingAtURI","message":"not in the capture"}}`)
		return
	}
	read := []string{path}
	if expand {
		var members []string
		doc, members = s.expanded(doc)
		read = append(read, members...)
	}
	s.mu.Lock()
	s.read = append(s.read, read...)
	s.mu.Unlock()
	_, _ = w.Write(doc)
}

// expanded puts the members of a collection in the place of the links to them; those that are not in the capture stay links.
func (s *Server) expanded(doc json.RawMessage) (json.RawMessage, []string) {
	var collection map[string]any
	if json.Unmarshal(doc, &collection) != nil {
		return doc, nil
	}
	members, _ := collection["Members"].([]any)
	var read []string
	for i, m := range members {
		link, _ := m.(map[string]any)
		path := trim(fmt.Sprint(link["@odata.id"]))
		if member, ok := s.capture[path]; ok {
			members[i] = member
			read = append(read, path)
		}
	}
	out, err := json.Marshal(collection)
	if err != nil {
		return doc, nil
	}
	return out, read
}

// sessions is where one logs in, "-" where the BMC knows no sessions.
func (s *Server) sessions() string {
	var root struct {
		Links struct {
			Sessions struct {
				ID string `json:"@odata.id"`
			}
		}
	}
	if json.Unmarshal(s.capture["/redfish/v1"], &root) != nil || root.Links.Sessions.ID == "" {
		return "-"
	}
	return trim(root.Links.Sessions.ID)
}
