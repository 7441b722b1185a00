package linux

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/u-root/u-root/pkg/efivarfs"
	"golang.org/x/sys/unix"

	"github.com/beskar7/beskar7/pkg/agent"
	"github.com/beskar7/beskar7/pkg/agent/gpt"
)

// memory is firmware with so many bytes for variables.
type memory struct {
	variables map[string][]byte
	room      int
}

func (m *memory) key(v efivarfs.VariableDescriptor) string { return v.Name + "-" + v.GUID.String() }

func (m *memory) Get(v efivarfs.VariableDescriptor) (efivarfs.VariableAttributes, []byte, error) {
	data, ok := m.variables[m.key(v)]
	if !ok {
		return 0, nil, efivarfs.ErrVarNotExist
	}
	return attributes, data, nil
}

func (m *memory) List() ([]efivarfs.VariableDescriptor, error) {
	var out []efivarfs.VariableDescriptor
	for key := range m.variables {
		name, id, _ := strings.Cut(key, "-"+key[len(key)-36:])
		out = append(out, efivarfs.VariableDescriptor{Name: name + id, GUID: uuid.MustParse(key[len(key)-36:])})
	}
	return out, nil
}

func (m *memory) Remove(v efivarfs.VariableDescriptor) error {
	delete(m.variables, m.key(v))
	return nil
}

func (m *memory) Set(v efivarfs.VariableDescriptor, _ efivarfs.VariableAttributes, data []byte) error {
	used := len(data)
	for key, value := range m.variables {
		if key != m.key(v) {
			used += len(value)
		}
	}
	if used > m.room {
		return unix.ENOSPC
	}
	m.variables[m.key(v)] = bytes.Clone(data)
	return nil
}

func entry() agent.Entry {
	return agent.Entry{Label: "beskar7 node", BlockSize: 512,
		Partition: gpt.Partition{Index: 2, Start: 1 << 20, Size: 2 << 20, GUID: "AAAAAAAA-0001-4002-8003-0000000000A1"}}
}

func firmware(room int) *memory {
	m := &memory{variables: map[string][]byte{}, room: room}
	for name, value := range map[string][]byte{
		"BootOrder": words([]uint16{3, 0, 1}), "Boot0000": option("Windows"), "Boot0001": option("beskar7 node"), "Boot0003": option("CD"),
	} {
		m.variables[name+"-"+global.String()] = value
	}
	m.variables["Boot0002-"+uuid.NewString()] = option("beskar7 node") // another maker's variable of this name
	return m
}

func option(label string) []byte {
	return append(append([]byte{1, 0, 0, 0, 4, 0}, utf16z(label)...), 0x7F, 0xFF, 4, 0)
}

func TestABootEntry(t *testing.T) {
	m := firmware(1 << 16)
	for range 3 { // again and again: there is one entry of the name
		name, err := nvram{m}.boot(entry())
		if err != nil || name != "Boot0001" {
			t.Fatalf("%s, %v", name, err)
		}
		get := func(name string) []byte { return m.variables[name+"-"+global.String()] }
		if order := fmt.Sprintf("% x", get("BootOrder")); order != "01 00 03 00 00 00" || fmt.Sprintf("% x", get("BootNext")) != "01 00" {
			t.Errorf("the order is %s, the next % x", order, get("BootNext"))
		}
		if labelOf(get("Boot0001")) != "beskar7 node" || labelOf(get("Boot0000")) != "Windows" || len(m.variables) != 6 {
			t.Errorf("the firmware has %d variables: %x", len(m.variables), get("Boot0001"))
		}
	}
}

// Byte by byte as UEFI 2.10 has it: attributes, length of the paths, label, hard drive, file, end.
func TestALoadOption(t *testing.T) {
	got, err := loadOption(entry(), `\EFI\BOOT\BOOTX64.EFI`)
	if err != nil {
		t.Fatal(err)
	}
	want := "01000000" + "5e00" + hex.EncodeToString(utf16z("beskar7 node")) +
		"04012a00" + "02000000" + "0008000000000000" + "0010000000000000" + "aaaaaaaa01000240800300000000 00a1" + "0202" +
		"04043000" + hex.EncodeToString(utf16z(`\EFI\BOOT\BOOTX64.EFI`)) + "7fff0400"
	if hex.EncodeToString(got) != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got  %x\nwant %s", got, want)
	}
	bad := entry()
	bad.Partition.GUID = ""
	if _, err := loadOption(bad, "x"); err == nil {
		t.Error("a partition without a GUID gets an entry")
	}
}

func TestNoSpaceForAnEntry(t *testing.T) {
	m := firmware(600)
	m.variables["dump-type0-1-1-1234-C-"+uuid.NewString()] = make([]byte, 400)
	if _, err := (nvram{m}).boot(entry()); err != nil {
		t.Errorf("crash dumps are not removed: %v", err)
	}
	for name := range m.variables {
		if strings.HasPrefix(name, "dump-type0-") {
			t.Errorf("%s is still there", name)
		}
	}
	if _, err := (nvram{firmware(150)}).boot(entry()); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("%v", err)
	}
}

func TestLabelsThatEndNowhere(t *testing.T) {
	for _, data := range [][]byte{nil, {1}, {1, 0, 0, 0, 4, 0, 'a', 0}, {1, 0, 0, 0, 4, 0, 'a', 0, 'b'}} {
		if label := labelOf(data); len(label) > 1 {
			t.Errorf("% x has the label %q", data, label)
		}
	}
}
