package endpoint

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// Parse reads an http or https URL with a host. Its errors do not quote the URL, as a mistyped one may hold a password. The
// scheme has to be written in small letters, as the patterns of the API want it too; the result has it so in any case.
func Parse(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("it cannot be read as a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("it must start with https:// or http://")
	case !strings.HasPrefix(text, u.Scheme+"://"):
		return nil, errors.New("it must start with https:// or http://, in small letters")
	case u.Hostname() == "":
		return nil, errors.New("it has no host")
	case strings.ContainsAny(u.Host, " \t\\"):
		return nil, errors.New("its host has characters that no host has")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return nil, errors.New("its port is not between 1 and 65535")
		}
	}
	return u, nil
}

// Secure tells whether what is sent to the URL is encrypted. It is false for whatever cannot be read: a guard that asks it
// refuses what nobody understands.
func Secure(text string) bool {
	u, err := url.Parse(text) // it makes the scheme small
	return err == nil && u.Scheme == "https" && u.Hostname() != ""
}
