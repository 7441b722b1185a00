package emulator_test

import (
	"fmt"
	"testing"

	"github.com/beskar7/beskar7/test/emulator"
)

// BenchmarkFleetOf2000 is the start and the end of 2,000 BMCs of all personas.
func BenchmarkFleetOf2000(b *testing.B) {
	personas := emulator.Personas()
	for b.Loop() {
		f, err := emulator.New(emulator.Options{})
		if err != nil {
			b.Fatal(err)
		}
		for i := range 2000 {
			if _, err := f.Add(emulator.Spec{Name: fmt.Sprintf("srv-%d", i), Persona: personas[i%len(personas)]}); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
