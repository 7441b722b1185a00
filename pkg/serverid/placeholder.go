package serverid

import (
	"bytes"
	"strings"
	"unicode"

	"github.com/google/uuid"
)

// blanks are the words that boards ship with where a serial number belongs, without case, spaces and punctuation. Seen in
// dmidecode reports of AMI, ASUS, ASRock, Gigabyte, Supermicro and Quanta boards, and in the lists that systemd's hardware
// database and inventory programs skip.
var blanks = map[string]bool{
	"tobefilledbyoem": true, "tobefilled": true, "defaultstring": true, "default": true, "notspecified": true, "notapplicable": true,
	"notavailable": true, "notprovided": true, "notpresent": true, "notsettable": true, "notset": true, "na": true, "none": true, "null": true, "nil": true,
	"unknown": true, "undefined": true, "empty": true, "invalid": true, "oem": true, "standard": true, "serial": true, "serialnumber": true, "sernum": true,
	"systemserialnumber": true, "chassisserialnumber": true, "baseboardserialnumber": true, "boardserialnumber": true,
	"0123456789": true, "1234567890": true, "123456789": true, "12345678": true, "0123456789abcdef": true, "123456789abcdef": true,
}

// blankUUIDs are what boards ship with instead of a UUID of their own, besides those whose bytes are all the same: SMBIOS 7.2.1
// gives all 00h the meaning "not present", and all FFh "not set". The first is AMI's default, on boards of ASUS, Gigabyte and
// others; where it has a MAC address woven in it is no place holder.
var blankUUIDs = func() map[uuid.UUID]bool {
	all := map[uuid.UUID]bool{}
	for _, text := range []string{
		"03000200-0400-0500-0006-000700080009", "00010203-0405-0607-0809-0a0b0c0d0e0f", "12345678-1234-5678-90ab-cddeefaabbcc",
		"12345678-1234-5678-1234-567812345678", "01234567-89ab-cdef-0123-456789abcdef", "deadbeef-dead-beef-dead-beefdeadbeef",
		"ffffff00-ffff-ffff-ffff-ffffffffffff",
	} {
		all[canonical(uuid.MustParse(text))] = true
	}
	return all
}()

// realSerial says whether a serial number tells one server from another.
func realSerial(serial string) bool {
	word := strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, serial)
	// One character again and again is nothing, too.
	return word != "" && !blanks[word] && strings.Trim(word, string([]rune(word)[:1])) != ""
}

// uuidKey is the same for a UUID in either order of bytes, and "" for a place holder. Text that is no UUID, which some BMCs give,
// stands for itself.
func uuidKey(text string) string {
	text = strings.TrimSpace(text)
	id, err := uuid.Parse(text)
	if err != nil {
		if !realSerial(text) {
			return ""
		}
		return strings.ToLower(text)
	}
	if id = canonical(id); blankUUIDs[id] || bytes.Count(id[:], id[:1]) == len(id) {
		return ""
	}
	return id.String()
}

// canonical is the smaller of the two ways to write a UUID: RFC 4122 writes its first three fields with the high byte first,
// SMBIOS 2.6 with the low byte first, and BMCs follow the one or the other, at times by the version of the BIOS.
func canonical(id uuid.UUID) uuid.UUID {
	swapped := id
	for _, field := range []struct{ from, to int }{{0, 4}, {4, 6}, {6, 8}} {
		for i := field.from; i < field.to; i++ {
			swapped[i] = id[field.from+field.to-1-i]
		}
	}
	if bytes.Compare(swapped[:], id[:]) < 0 {
		return swapped
	}
	return id
}
