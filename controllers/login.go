package controllers

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// processKey is of this process alone: what is hashed with it tells nobody else anything.
var processKey = rand.Text()

// credentialKey names a credential in memory: another one for each Secret that holds it, so that no message about one Secret tells
// what another one holds, and the same one after changes of the Secret's metadata.
func credentialKey(secret types.UID, username, password string) string {
	mac := hmac.New(sha256.New, []byte(processKey))
	for _, part := range []string{string(secret), username, password} {
		_ = binary.Write(mac, binary.BigEndian, uint64(len(part))) // so that "ab","c" is not "a","bc"
		mac.Write([]byte(part))
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// loginOf reads user name and password as they are meant. A BMC counts refused log-ins, so what cannot be right is told before one
// is spent.
func loginOf(secret *corev1.Secret) (username, password string, err error) {
	for key, value := range map[string]*string{usernameKey: &username, passwordKey: &password} {
		*value = withoutLineEnd(string(secret.Data[key]))
		if *value == "" {
			return "", "", &inputError{v1beta1.ReasonSecretInvalid,
				fmt.Sprintf("Secret %q has no key %q: BMC credentials need the keys username and password", secret.Name, key)}
		}
	}
	for _, c := range []struct{ key, fault string }{{usernameKey, userNameFault(username)}, {passwordKey, passwordFault(password)}} {
		if c.fault != "" {
			return "", "", &inputError{v1beta1.ReasonSecretInvalid, fmt.Sprintf("no log-in was tried: the value of key %q of Secret %q %s; write it anew", c.key, secret.Name, c.fault)}
		}
	}
	return username, password, nil
}

// withoutLineEnd takes away the line ends that "echo" and editors put behind a value: no BMC takes one as part of a password.
func withoutLineEnd(value string) string { return strings.TrimRight(value, "\r\n") }

func userNameFault(name string) string {
	if strings.TrimSpace(name) != name {
		return "begins or ends with a space"
	}
	return passwordFault(name)
}

// passwordFault is about what no BMC's form lets a person type. A space at an end is none: some mean it.
func passwordFault(password string) string {
	switch {
	case strings.HasPrefix(password, "\ufeff"):
		return "begins with a byte order mark, which an editor put there"
	case strings.ContainsFunc(password, unicode.IsControl):
		return "holds a line break, a tab or another control character"
	}
	return ""
}

// spaced says whether a refused password may be one that was copied with a space too many.
func spaced(password string) bool { return strings.TrimSpace(password) != password }
