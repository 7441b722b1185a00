package emulator

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// trouble is the record of wrong passwords of one account.
type trouble struct {
	wrong       int
	lockedUntil time.Time
}

func (a *access) trouble(user string) *trouble {
	if a.troubles[user] == nil {
		a.troubles[user] = &trouble{}
	}
	return a.troubles[user]
}

const (
	accountService = root + "/AccountService"
	accountsPath   = accountService + "/Accounts"
	administrator  = "Administrator"
	readOnly       = "ReadOnly"
)

// accountsLocked are the accounts of an endpoint, the first one of its Spec first.
func (b *BMC) accountsLocked() []Account {
	return append([]Account{{Username: b.spec.Username, Password: b.spec.Password, Role: administrator}}, b.spec.Accounts...)
}

// rightLocked says whether user exists, and whether the password is its own.
func (b *BMC) rightLocked(user, password string) (exists, right bool) {
	for _, a := range b.accountsLocked() {
		if a.Username == user {
			return true, subtle.ConstantTimeCompare([]byte(a.Password), []byte(password)) == 1
		}
	}
	return false, false
}

func (b *BMC) roleLocked(user string) string {
	for _, a := range b.accountsLocked() {
		if a.Username == user {
			return cmp.Or(a.Role, administrator)
		}
	}
	return readOnly
}

// setPasswordLocked ends the account's sessions, too.
func (b *BMC) setPasswordLocked(user, password string, by cause) {
	if user == b.spec.Username {
		b.spec.Password = password
	}
	for i := range b.spec.Accounts {
		if b.spec.Accounts[i].Username == user {
			b.spec.Accounts[i].Password = password
		}
	}
	b.record(by, Event{Kind: EventCredentials, To: user, Detail: "password changed"})
	for token, s := range b.access.sessions {
		if s.user == user {
			delete(b.access.sessions, token)
			b.record(by, Event{Kind: EventSessionEnded, From: s.id, Detail: "password changed"})
		}
	}
}

func (b *BMC) addAccounts(t map[string]*node) {
	t[accountService] = &node{view: func() doc {
		return resource(accountService, "AccountService.v1_15_0.AccountService", "Account Service", doc{
			"ServiceEnabled": true, "Accounts": link(accountsPath), "Status": healthy(),
			"AccountLockoutThreshold": b.kind().login.lockoutAfter,
			"AccountLockoutDuration":  int((b.fleet.timings.Lockout + time.Second - 1) / time.Second),
			"MinPasswordLength":       8,
		})
	}}
	var members []string
	for i, a := range append([]Account{{}}, b.spec.Accounts...) {
		path, user := accountsPath+"/"+strconv.Itoa(i+1), cmp.Or(a.Username, b.spec.Username)
		members = append(members, path)
		t[path] = &node{view: func() doc {
			return resource(path, "ManagerAccount.v1_12_0.ManagerAccount", "User Account", doc{
				"UserName": user, "RoleId": b.roleLocked(user), "Enabled": true, "Password": nil,
				"Locked": time.Now().Before(b.access.trouble(user).lockedUntil),
			})
		}, patch: func(c *call) { c.patchAccount(user) }}
	}
	collection(t, accountsPath, "ManagerAccount", "Accounts", members...)
}

// patchAccount changes a password, or unlocks an account.
func (c *call) patchAccount(user string) {
	if !c.only("Password", "Locked") {
		return
	}
	password, change := c.text("Password")
	if change && len(password) < 8 {
		c.fail(http.StatusBadRequest, msgNotInList("Password", "too short"))
		return
	}
	var locked *bool
	if raw := c.body["Locked"]; raw != nil && (json.Unmarshal(raw, &locked) != nil || locked == nil || *locked) {
		c.fail(http.StatusBadRequest, msgNotInList("Locked", "?"))
		return
	}
	b := c.front
	b.mu.Lock()
	if locked != nil {
		*b.access.trouble(user) = trouble{}
		b.record(c.by, Event{Kind: EventSettings, To: "Locked"})
	}
	if change {
		b.setPasswordLocked(user, password, c.by)
	}
	b.mu.Unlock()
	c.answer(http.StatusNoContent, nil)
}
