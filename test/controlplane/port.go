package controlplane

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// The harness's ports lie below the range from which Linux takes the ports of outgoing connections
// (32768 and up): otherwise one of thousands of connections could take a port between our choice and
// the server's bind.
const lowestPort, highestPort = 21000, 32000

// ports are those claimed by this process; each is backed by a locked file, so that test binaries that
// run at the same time do not choose the same one. The locks go when the process does.
var ports = struct {
	sync.Mutex
	held map[int]*os.File
}{held: map[int]*os.File{}}

// freePort claims a port on which nothing listens, for as long as this process lives.
func freePort() (int, error) {
	dir := filepath.Join(os.TempDir(), "beskar7-ports-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, fmt.Errorf("making the folder for port claims: %w", err)
	}
	ports.Lock()
	defer ports.Unlock()
	for range 1000 {
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		if ports.held[port] != nil {
			continue
		}
		claim, err := claimPort(dir, port)
		if err != nil {
			return 0, err
		}
		if claim != nil {
			ports.held[port] = claim
			return port, nil
		}
	}
	return 0, errors.New("no free port found between " + strconv.Itoa(lowestPort) + " and " + strconv.Itoa(highestPort))
}

// releasePorts gives ports back whose server has ended.
func releasePorts(list ...int) {
	ports.Lock()
	defer ports.Unlock()
	for _, port := range list {
		if f := ports.held[port]; f != nil {
			f.Close()
			delete(ports.held, port)
		}
	}
}

// claimPort returns nil without error when somebody else has the port.
func claimPort(dir string, port int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("claiming a port: %w", err)
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		f.Close()
		return nil, nil //nolint:nilerr // taken by somebody else: the answer, no failure
	}
	// Every address, because Cluster API's webhook servers bind every address; nothing is accepted.
	l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
	if err != nil {
		f.Close()
		return nil, nil //nolint:nilerr // taken by somebody else: the answer, no failure
	}
	l.Close()
	return f, nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
