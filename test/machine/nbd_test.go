package machine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// disc is a medium whose reads from some offset on fail, as those of an ejected one.
type disc struct {
	data  []byte
	bad   int64
	reads int
}

func (d *disc) ReadAt(p []byte, off int64) (int, error) {
	d.reads++
	if off+int64(len(p)) > d.bad {
		return 0, errors.New("medium was ejected")
	}
	return bytes.NewReader(d.data).ReadAt(p, off)
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return b
}

// client is the part of an NBD client that QEMU's block layer is.
type client struct {
	t *testing.T
	net.Conn
}

func dial(t *testing.T, list ...export) (*client, *exports) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	s, err := serveMedia(path, list)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return reach(t, path), s
}

func reach(t *testing.T, path string) *client {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	c := &client{t, conn}
	var hello struct {
		Magic, Option uint64
		Flags         uint16
	}
	c.get(&hello)
	if hello.Magic != nbdMagic || hello.Option != nbdOptionMagic || hello.Flags&nbdFixedNewstyle == 0 {
		t.Fatalf("greeted with %+v", hello)
	}
	c.put(uint32(nbdFixedNewstyle | nbdNoZeroes))
	return c
}

func (c *client) get(into any) {
	c.t.Helper()
	if err := binary.Read(c, binary.BigEndian, into); err != nil {
		c.t.Fatalf("read from the server: %v", err)
	}
}

func (c *client) put(values ...any) {
	c.t.Helper()
	var out bytes.Buffer
	for _, v := range values {
		if err := binary.Write(&out, binary.BigEndian, v); err != nil {
			c.t.Fatal(err)
		}
	}
	if _, err := c.Write(out.Bytes()); err != nil {
		c.t.Fatal(err)
	}
}

// option sends an option and returns the kind of its first reply, with its data.
func (c *client) option(option uint32, data []byte) (uint32, []byte) {
	c.t.Helper()
	c.put(uint64(nbdOptionMagic), option, uint32(len(data)), data)
	return c.reply(option)
}

func (c *client) reply(option uint32) (uint32, []byte) {
	c.t.Helper()
	var head struct {
		Magic                uint64
		Option, Kind, Length uint32
	}
	c.get(&head)
	if head.Magic != nbdReplyMagic || head.Option != option {
		c.t.Fatalf("reply %+v to option %d", head, option)
	}
	data := make([]byte, head.Length)
	if _, err := io.ReadFull(c, data); err != nil {
		c.t.Fatal(err)
	}
	return head.Kind, data
}

func named(name string) []byte {
	b := append(binary.BigEndian.AppendUint32(nil, uint32(len(name))), name...)
	return binary.BigEndian.AppendUint16(b, 0)
}

// command sends a request and returns the error of its reply.
func (c *client) command(kind uint16, handle, offset uint64, length uint32) uint32 {
	c.t.Helper()
	c.put(uint32(nbdRequest), uint16(0), kind, handle, offset, length)
	if kind == nbdCmdWrite {
		c.put(make([]byte, length))
	}
	var head struct {
		Magic, Error uint32
		Handle       uint64
	}
	c.get(&head)
	if head.Magic != nbdResponse || head.Handle != handle {
		c.t.Fatalf("answer %+v to request %d", head, handle)
	}
	return head.Error
}

func (c *client) bytes(n int) []byte {
	c.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		c.t.Fatal(err)
	}
	return b
}

func TestAMediumIsABlockDevice(t *testing.T) {
	data := pattern(300_000)
	c, _ := dial(t, export{"CD1", &disc{data: data, bad: 200_000}, int64(len(data))}, export{"CD2", bytes.NewReader(nil), 0})

	if kind, _ := c.option(nbdOptInfo, named("floppy")); kind != nbdErrUnknown {
		t.Errorf("an unknown export: reply %#x", kind)
	}
	if kind, _ := c.option(nbdOptGo, []byte{0, 0, 0, 200, 'x', 0}); kind != nbdErrInvalid {
		t.Errorf("a name longer than its option: reply %#x", kind)
	}
	if kind, _ := c.option(5, nil); kind != nbdErrUnsup {
		t.Errorf("STARTTLS: reply %#x", kind)
	}
	kind, info := c.option(nbdOptGo, named("CD1"))
	if kind != nbdRepInfo || binary.BigEndian.Uint64(info[2:]) != 300_000 || binary.BigEndian.Uint16(info[10:])&nbdFlagReadOnly == 0 {
		t.Fatalf("GO: %d %x", kind, info)
	}
	if kind, _ := c.reply(nbdOptGo); kind != nbdRepAck {
		t.Fatalf("GO ended with %d", kind)
	}

	if code := c.command(nbdCmdRead, 7, 65_000, 4096); code != 0 || !bytes.Equal(c.bytes(4096), data[65_000:69_096]) {
		t.Errorf("a read: error %d or other bytes", code)
	}
	if code := c.command(nbdCmdRead, 8, 250_000, 2048); code != nbdEIO {
		t.Errorf("a read that the BMC cannot serve: error %d", code)
	}
	for _, beyond := range []uint64{299_000, 300_001, 1<<64 - 1000} {
		if code := c.command(nbdCmdRead, 9, beyond, 2048); code != nbdEINVAL {
			t.Errorf("a read at %d: error %d", beyond, code)
		}
	}
	if code := c.command(nbdCmdWrite, 10, 0, 512); code != nbdEPERM {
		t.Errorf("a write: error %d", code)
	}
	if code := c.command(nbdCmdFlush, 11, 0, 0); code != 0 {
		t.Errorf("a flush: error %d", code)
	}
	if code := c.command(nbdCmdRead, 12, 0, 16); code != 0 || !bytes.Equal(c.bytes(16), data[:16]) {
		t.Error("the connection is not usable after refusals")
	}
	c.put(uint32(nbdRequest), uint16(0), uint16(nbdCmdDisconnect), uint64(13), uint64(0), uint32(0))
	if _, err := c.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // a socket's
		t.Errorf("after disconnect: %v", err)
	}
}

func TestMediaAreListed(t *testing.T) {
	c, _ := dial(t, export{"CD1", bytes.NewReader(nil), 0}, export{"CD2", bytes.NewReader(nil), 0})
	kind, first := c.option(nbdOptList, nil)
	if kind != nbdRepServer || string(first[4:]) != "CD1" {
		t.Errorf("first: %d %q", kind, first)
	}
	if kind, second := c.reply(nbdOptList); kind != nbdRepServer || string(second[4:]) != "CD2" {
		t.Errorf("second: %d %q", kind, second)
	}
	if kind, _ := c.reply(nbdOptList); kind != nbdRepAck {
		t.Errorf("the list ends with %d", kind)
	}
	c.put(uint64(nbdOptionMagic), uint32(nbdOptExportName), uint32(3), []byte("CD2"))
	var got struct {
		Size  uint64
		Flags uint16
	}
	c.get(&got)
	if got.Size != 0 || got.Flags&nbdFlagReadOnly == 0 {
		t.Errorf("EXPORT_NAME: %+v", got)
	}
}

// A power cycle ends while QEMU is in the middle of anything.
func TestTheEndOfThePowerCycleEndsConnections(t *testing.T) {
	c, s := dial(t, export{"CD1", bytes.NewReader(pattern(4096)), 4096})
	if kind, _ := c.option(nbdOptInfo, named("CD1")); kind != nbdRepInfo {
		t.Fatalf("INFO: %d", kind)
	}
	if kind, _ := c.reply(nbdOptInfo); kind != nbdRepAck {
		t.Fatalf("INFO ended with %d", kind)
	}
	s.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
	if len(s.open) != 0 {
		t.Errorf("%d connections left", len(s.open))
	}
}
