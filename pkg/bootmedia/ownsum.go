package bootmedia

import (
	"bytes"
	"errors"
	"regexp"
)

// applicationUse is where a volume descriptor keeps what programs leave there, and
// how much of it there is (ECMA-119, 8.4.32).
const applicationUse, applicationUseBytes = 883, 512

// implantedSum finds the sum of the whole image that isomd5sum's implantisomd5
// ("ISO MD5SUM = ") and SUSE's tagmedia ("sha256sum=") leave in the descriptor.
var implantedSum = regexp.MustCompile(`ISO MD5SUM = |\b(?:md5|sha1|sha224|sha256|sha384|sha512)sum=`)

// forgetSum takes the sum out of a descriptor that is changed. Without it a check
// of the medium says that there is nothing to check by; with it, that the medium
// is damaged.
func forgetSum(desc []byte) {
	if area := desc[applicationUse : applicationUse+applicationUseBytes]; implantedSum.Match(area) {
		copy(area, bytes.Repeat([]byte(" "), applicationUseBytes))
	}
}

// checkOwnSum refuses to lay anything over an image that stops when its sum is
// another. Nor is it relied on that it goes on without a sum: checkisomd5 of
// isomd5sum 1.2.3 ends with 1 then, too, and dracut's unit takes any but 0 for a
// failure.
func checkOwnSum(l *ImageLooksLike) error {
	if _, checks := l.lines(argument("rd.live.check", "rd.live.check=1")); checks && l.ImplantedSum {
		return errors.New("the image checks a sum of itself before it starts (rd.live.check on its kernel command line), and a " +
			"medium with bootstrap data in it has another: " +
			"build the image without rd.live.check, or use a host whose BMC has a second virtual medium")
	}
	return nil
}
