package machine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// What is spoken of the NBD protocol: fixed newstyle negotiation, one read-only export for each name, reads with simple replies.
const (
	nbdMagic       = 0x4e42444d41474943 // "NBDMAGIC"
	nbdOptionMagic = 0x49484156454f5054 // "IHAVEOPT"
	nbdReplyMagic  = 0x0003e889045565a9
	nbdRequest     = 0x25609513
	nbdResponse    = 0x67446698

	nbdFixedNewstyle = 1 << 0
	nbdNoZeroes      = 1 << 1

	nbdOptExportName = 1
	nbdOptAbort      = 2
	nbdOptList       = 3
	nbdOptInfo       = 6
	nbdOptGo         = 7

	nbdRepAck        = 1
	nbdRepServer     = 2
	nbdRepInfo       = 3
	nbdErrUnsup      = 1<<31 | 1
	nbdErrInvalid    = 1<<31 | 3
	nbdErrUnknown    = 1<<31 | 6
	nbdInfoExport    = 0
	nbdFlagHas       = 1 << 0
	nbdFlagReadOnly  = 1 << 1
	nbdCmdRead       = 0
	nbdCmdWrite      = 1
	nbdCmdDisconnect = 2
	nbdCmdFlush      = 3
	nbdEPERM         = 1
	nbdEIO           = 5
	nbdEINVAL        = 22

	nbdMaxOption = 64 << 10
	nbdMaxRead   = 32 << 20
)

// export is one medium as a block device.
type export struct {
	name string
	r    io.ReaderAt
	size int64
}

// exports is an NBD server for the media of one power cycle.
type exports struct {
	list     []export
	listener net.Listener
	wait     sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]bool
	closed bool
}

// serveMedia serves the exports on a unix socket until Close.
func serveMedia(path string, list []export) (*exports, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for the media's reader: %w", err)
	}
	s := &exports{list: list, listener: l, open: map[net.Conn]bool{}}
	s.wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if s.keep(c) {
				s.wait.Go(func() { s.serve(c) })
			}
		}
	})
	return s, nil
}

func (s *exports) keep(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = c.Close()
		return false
	}
	s.open[c] = true
	return true
}

// serve is one connection to its end. An error only ends it: whoever reads sees the end, and what failed is the BMC's to log.
func (s *exports) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		s.mu.Lock()
		delete(s.open, c)
		s.mu.Unlock()
	}()
	e, err := s.negotiate(c)
	if err != nil || e == nil {
		return
	}
	_ = e.transmit(c)
}

// Close ends all connections and waits for their goroutines.
func (s *exports) Close() {
	_ = s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wait.Wait()
}

func (s *exports) find(name string) *export {
	for i := range s.list {
		if s.list[i].name == name {
			return &s.list[i]
		}
	}
	return nil
}

// negotiate returns the export that the client chose; nil when it went without one.
func (s *exports) negotiate(c io.ReadWriter) (*export, error) {
	hello := binary.BigEndian.AppendUint64(nil, nbdMagic)
	hello = binary.BigEndian.AppendUint64(hello, nbdOptionMagic)
	if _, err := c.Write(binary.BigEndian.AppendUint16(hello, nbdFixedNewstyle|nbdNoZeroes)); err != nil {
		return nil, err
	}
	var flags uint32
	if err := binary.Read(c, binary.BigEndian, &flags); err != nil {
		return nil, err
	}
	if flags&nbdFixedNewstyle == 0 {
		return nil, errors.New("the client does not speak fixed newstyle")
	}
	for {
		option, data, err := readOption(c)
		if err != nil {
			return nil, err
		}
		e, done, err := s.answer(c, option, data, flags&nbdNoZeroes != 0)
		if err != nil || done {
			return e, err
		}
	}
}

func readOption(c io.Reader) (option uint32, data []byte, err error) {
	var head struct {
		Magic          uint64
		Option, Length uint32
	}
	if err := binary.Read(c, binary.BigEndian, &head); err != nil {
		return 0, nil, err
	}
	if head.Magic != nbdOptionMagic || head.Length > nbdMaxOption {
		return 0, nil, errors.New("malformed option")
	}
	data = make([]byte, head.Length)
	_, err = io.ReadFull(c, data)
	return head.Option, data, err
}

// answer answers one option; done ends the negotiation.
func (s *exports) answer(c io.Writer, option uint32, data []byte, noZeroes bool) (e *export, done bool, err error) {
	switch option {
	case nbdOptExportName:
		if e = s.find(string(data)); e == nil {
			return nil, true, nil // this option has no reply for a refusal
		}
		body := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(nil, uint64(e.size)), nbdFlagHas|nbdFlagReadOnly)
		if !noZeroes {
			body = append(body, make([]byte, 124)...)
		}
		_, err = c.Write(body)
		return e, true, err
	case nbdOptAbort:
		return nil, true, reply(c, option, nbdRepAck, nil)
	case nbdOptList:
		for _, e := range s.list {
			if err := reply(c, option, nbdRepServer, append(binary.BigEndian.AppendUint32(nil, uint32(len(e.name))), e.name...)); err != nil {
				return nil, true, err
			}
		}
		return nil, false, reply(c, option, nbdRepAck, nil)
	case nbdOptInfo, nbdOptGo:
		return s.inform(c, option, data)
	default:
		return nil, false, reply(c, option, nbdErrUnsup, nil)
	}
}

// inform answers INFO and GO: which export, how large.
func (s *exports) inform(c io.Writer, option uint32, data []byte) (*export, bool, error) {
	if len(data) < 4 || uint64(len(data)) < 4+uint64(binary.BigEndian.Uint32(data))+2 {
		return nil, false, reply(c, option, nbdErrInvalid, nil)
	}
	e := s.find(string(data[4 : 4+binary.BigEndian.Uint32(data)]))
	if e == nil {
		return nil, false, reply(c, option, nbdErrUnknown, nil)
	}
	info := binary.BigEndian.AppendUint16(nil, nbdInfoExport)
	info = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(info, uint64(e.size)), nbdFlagHas|nbdFlagReadOnly)
	if err := reply(c, option, nbdRepInfo, info); err != nil {
		return nil, true, err
	}
	return e, option == nbdOptGo, reply(c, option, nbdRepAck, nil)
}

func reply(c io.Writer, option, kind uint32, data []byte) error {
	out := binary.BigEndian.AppendUint64(nil, nbdReplyMagic)
	out = binary.BigEndian.AppendUint32(out, option)
	out = binary.BigEndian.AppendUint32(out, kind)
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	_, err := c.Write(append(out, data...))
	return err
}

// transmit answers requests until the client goes. A read that the BMC could not serve is an I/O error to the machine.
func (e *export) transmit(c io.ReadWriter) error {
	for {
		var head struct {
			Magic          uint32
			Flags, Command uint16
			Handle, Offset uint64
			Length         uint32
		}
		if err := binary.Read(c, binary.BigEndian, &head); err != nil {
			return err
		}
		if head.Magic != nbdRequest {
			return errors.New("malformed request")
		}
		var data []byte
		code := uint32(0)
		switch head.Command {
		case nbdCmdDisconnect:
			return nil
		case nbdCmdRead:
			data, code = e.read(head.Offset, head.Length)
		case nbdCmdFlush:
		case nbdCmdWrite:
			if _, err := io.CopyN(io.Discard, c, int64(head.Length)); err != nil {
				return err
			}
			code = nbdEPERM
		default:
			code = nbdEINVAL
		}
		out := make([]byte, 0, 16+len(data))
		out = binary.BigEndian.AppendUint32(out, nbdResponse)
		out = binary.BigEndian.AppendUint32(out, code)
		out = binary.BigEndian.AppendUint64(out, head.Handle)
		if _, err := c.Write(append(out, data...)); err != nil {
			return err
		}
	}
}

func (e *export) read(offset uint64, length uint32) ([]byte, uint32) {
	if length > nbdMaxRead || offset > uint64(e.size) || uint64(length) > uint64(e.size)-offset {
		return nil, nbdEINVAL
	}
	data := make([]byte, length)
	if n, err := e.r.ReadAt(data, int64(offset)); n < len(data) && err != nil {
		return nil, nbdEIO
	}
	return data, 0
}
