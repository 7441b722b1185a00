package media

import (
	"sync"

	"github.com/beskar7/beskar7/pkg/bootmedia"
)

// Tokens keeps the media tokens that this process minted, by their hash. Only hashes are stored in the API: a token that a
// restart lost is replaced by a new one, unless the BMC already has its URL.
type Tokens struct {
	mu     sync.Mutex
	byHash map[string]bootmedia.Token
}

// NewTokens makes an empty store.
func NewTokens() *Tokens { return &Tokens{byHash: map[string]bootmedia.Token{}} }

// Keep keeps a token that was minted.
func (t *Tokens) Keep(token bootmedia.Token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byHash[token.Hash()] = token
}

// Drop forgets the token of a hash, as when its grant ends.
func (t *Tokens) Drop(hash string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byHash, hash)
}

// URLs are where the media of a token are, or nil if the token is not known.
func (t *Tokens) URLs(hash, base string) map[bootmedia.Medium]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	token, ok := t.byHash[hash]
	if !ok || base == "" {
		return nil
	}
	return map[bootmedia.Medium]string{
		bootmedia.Boot:     bootmedia.BootURL(base, token),
		bootmedia.Config:   bootmedia.ConfigURL(base, token),
		bootmedia.Composed: bootmedia.ComposedURL(base, token),
	}
}
