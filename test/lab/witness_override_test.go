package lab

import "testing"

// Which overrides leave a server to its disk, in the words of the emulator's record.
func TestWhichOverridesAreNoLongerArmed(t *testing.T) {
	for override, want := range map[string]bool{
		unarmed: true, "None/Continuous/UEFI": true, "Cd/Disabled/UEFI": true, "Hdd/Continuous/UEFI": true,
		armedOnce: false, "Cd/Continuous/UEFI": false, "Hdd/Once/UEFI": false, "Pxe/Continuous/Legacy": false,
	} {
		if got := disarmed(override); got != want {
			t.Errorf("%s: disarmed is %v", override, got)
		}
	}
}
