package controllers

import (
	"testing"

	"github.com/beskar7/beskar7/api/v1beta1"
)

func TestHostsThatWaitForAnImageAreWoken(t *testing.T) {
	waits, other, free := newHost(), newHost(), newHost()
	other.Name, free.Name = "other", "free"
	waits.Spec.Boot = &v1beta1.Boot{ImageURL: "https://images.example/a.iso"}
	other.Spec.Boot = &v1beta1.Boot{ImageURL: "https://images.example/b.iso"}
	r, w := newRig(t, waits, other, free), NewWaker()
	w.WakeBooting(t.Context(), r.api, "https://images.example/a.iso")
	if len(w.pending) != 1 {
		t.Errorf("woken: %v", w.pending)
	}
}
