package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// requests are the requests of one kind of client, as the API server's audit log has them.
type requests struct {
	// All counts them but for watches and Leases; Reads are get and list, Writes the rest, refused ones too.
	All    int `json:"all"`
	Reads  int `json:"reads"`
	Writes int `json:"writes"`
	// Conflicts were answered with 409, Failed with another error.
	Conflicts int `json:"conflicts"`
	Failed    int `json:"failed"`
	// By verb and resource, such as "patch physicalhosts".
	By map[string]int `json:"by"`
}

// auditLine is what is counted of an audit event.
type auditLine struct {
	Stage     string `json:"stage"`
	Verb      string `json:"verb"`
	UserAgent string `json:"userAgent"`
	ObjectRef struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// auditSize is the present end of the audit log: where a storm's part begins.
func (s *site) auditSize() (int64, error) {
	info, err := os.Stat(s.plane.AuditLog())
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// requestsOf counts what clients of this name in their User-Agent asked since a place in the audit log.
func (s *site) requestsOf(agent string, since int64) (requests, error) {
	file, err := os.Open(s.plane.AuditLog())
	if err != nil {
		return requests{}, err
	}
	defer file.Close()
	if _, err := file.Seek(since, io.SeekStart); err != nil {
		return requests{}, err
	}
	return countRequests(file, agent)
}

func countRequests(log io.Reader, agent string) (requests, error) {
	r := requests{By: map[string]int{}}
	in := bufio.NewReaderSize(log, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return r, nil // a line without its end is still being written
		}
		if err != nil {
			return r, fmt.Errorf("read the audit log: %w", err)
		}
		if !bytes.Contains(line, []byte(agent)) {
			continue
		}
		var e auditLine
		if err := json.Unmarshal(line, &e); err != nil {
			return r, fmt.Errorf("decode a line of the audit log: %w", err)
		}
		if e.Stage == "ResponseComplete" && named(e.UserAgent, agent) {
			r.count(e)
		}
	}
}

// named tells whether one of the products in a User-Agent has the name: "a/v1 (linux) b" names a and b.
func named(userAgent, name string) bool {
	return slices.ContainsFunc(strings.Fields(userAgent), func(product string) bool {
		product, _, _ = strings.Cut(product, "/")
		return product == name
	})
}

func (r *requests) count(e auditLine) {
	resource := e.ObjectRef.Resource
	if e.ObjectRef.Subresource != "" {
		resource += "/" + e.ObjectRef.Subresource
	}
	switch {
	case e.Verb == "watch" || resource == "leases" || resource == "":
		return
	case e.Verb == "get" || e.Verb == "list":
		r.Reads++
	default:
		r.Writes++
	}
	r.All++
	r.By[e.Verb+" "+resource]++
	switch code := e.ResponseStatus.Code; {
	case code == http.StatusConflict:
		r.Conflicts++
	case code >= http.StatusBadRequest:
		r.Failed++
	}
}

// process is one of the control plane's.
type process struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
}

// processes of the control plane, from the list by which its folder is stopped.
func (s *site) processes() ([]process, error) {
	data, err := os.ReadFile(filepath.Join(s.plane.Dir(), "state.json"))
	if err != nil {
		return nil, err
	}
	var processes []process
	if err := json.Unmarshal(data, &processes); err != nil {
		return nil, fmt.Errorf("read the list of processes: %w", err)
	}
	return processes, nil
}

// serverCost is what etcd and kube-apiserver have used so far, by name.
func (s *site) serverCost() (map[string]cost, error) {
	processes, err := s.processes()
	if err != nil {
		return nil, err
	}
	costs := map[string]cost{}
	for _, p := range processes {
		if costs[p.Name], err = processCost(p.PID); err != nil {
			return nil, err
		}
	}
	return costs, nil
}

// settle waits until the API server has digested its CRDs: it computes for many seconds after it is ready, and what is measured
// meanwhile is not its rate. Quiet is less than a tenth of a CPU for two seconds in a row.
func (s *site) settle(ctx context.Context) error {
	const seconds, quiet = 2, 100 * time.Millisecond
	before, err := s.serverCost()
	if err != nil {
		return err
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for calm := 0; calm < seconds; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the API server to settle: %w", context.Cause(ctx))
		}
		now, err := s.serverCost()
		if err != nil {
			return err
		}
		calm++
		if now["kube-apiserver"].CPU-before["kube-apiserver"].CPU > quiet {
			calm = 0
		}
		before = now
	}
	return nil
}

// tick is the unit of times in /proc on Linux.
const tick = 10 * time.Millisecond

// processCost reads the CPU time and the resident set, largest and present, of a running process.
func processCost(pid int) (cost, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return cost{}, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return cost{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	var c cost
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return cost{}, err
		}
		c.CPU += time.Duration(n) * tick
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return cost{}, err
	}
	for label, bytes := range map[string]*int64{"VmHWM:": &c.Memory, "VmRSS:": &c.Resident} {
		if _, rest, found := strings.Cut(string(status), label); found {
			kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return cost{}, err
			}
			*bytes = kilobytes << 10
		}
	}
	return c, nil
}
