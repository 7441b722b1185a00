package bootmedia

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// checkSystem refuses, before a server is touched, bootstrap data that the system
// in the image cannot read, and an image that would not look for them.
func checkSystem(c Content, row family) error {
	if err := checkReadable(c, row); err != nil {
		return err
	}
	need := func(wanted ...string) error {
		if known, found := c.Looks.lines(argument(wanted...)); known && !found {
			return fmt.Errorf("the kernel command line of the image has no %s, without which osFamily %s does not look for "+
				"bootstrap data on a medium: build the image with it", strings.Join(wanted, " or "), c.Family)
		}
		return nil
	}
	switch c.Family {
	case FamilyTalos:
		if _, halts := c.Looks.lines(argument("talos.halt_if_installed=1", "talos.halt_if_installed")); halts {
			return errors.New("the kernel command line of the image has talos.halt_if_installed: on a server whose disk has Talos " +
				"on it the image stops and waits for a person; " +
				"build the image without it (extra kernel argument -talos.halt_if_installed)")
		}
		if isMetalISO(c.Looks) {
			return nil
		}
		return need("talos.platform=nocloud", "talos.config=metal-iso")
	case FamilyFlatcar:
		if err := need("flatcar.oem.id=openstack", "coreos.oem.id=openstack", "ignition.platform.id=openstack"); err != nil {
			return err
		}
		if known, found := c.Looks.lines(firstBootArgument); known && !found {
			return errors.New("the kernel command line of the image has no flatcar.first_boot=1, without which Flatcar does not run " +
				"Ignition: build the image with it")
		}
	case FamilyUbuntu:
		if known, found := c.Looks.lines(argument("autoinstall")); autoinstalls(c.UserData) && known && !found {
			return errors.New("the bootstrap data has an autoinstall section, and the kernel command line of the image has no " +
				"\"autoinstall\": its installer would wait for a person before it touches a disk")
		}
		return checkCloudInit(c)
	case FamilyGeneric, FamilyDebian:
		return checkCloudInit(c)
	case FamilyKairos, FamilyFedoraCoreOS, FamilyRHCOS, FamilyLeapMicro, FamilyMicroOS, FamilyNone:
	}
	return nil
}

// firstBootArgument has Flatcar's initramfs run Ignition (bootengine,
// dracut/30ignition: first_boot is 1, or detected on the disk).
func firstBootArgument(a string) bool {
	name, value, _ := strings.Cut(strings.Trim(a, `"'`), "=")
	return (name == "flatcar.first_boot" || name == "coreos.first_boot") && value != "0"
}

// ignitionOnly3 are the families whose Ignition reads configs of version 3 alone.
// Flatcar's reads version 2 as well, which it translates.
var ignitionOnly3 = []Family{FamilyFedoraCoreOS, FamilyRHCOS, FamilyLeapMicro, FamilyMicroOS}

// checkReadable judges bootstrap data by what they are, not by what they are said
// to be. Where that cannot be told they pass.
func checkReadable(c Content, row family) error {
	version, ignition := ignitionVersion(c.UserData)
	major, _, _ := strings.Cut(version, ".")
	switch {
	case ignition && slices.Contains(ignitionOnly3, c.Family) && major != "3":
		return fmt.Errorf("the bootstrap data is an Ignition config of version %s, and osFamily %s reads version 3 only: Cluster "+
			"API's kubeadm provider writes version 2, which osFamily %s translates; "+
			"use that, or a bootstrap provider that writes version 3", clip(version, 16), c.Family, FamilyFlatcar)
	case ignition && row.phoneHome:
		return fmt.Errorf("the bootstrap data is an Ignition config, and osFamily %s reads cloud-init user data: set the format in "+
			"the bootstrap provider's config, or choose the osFamily that fits the image", c.Family)
	case row.layout == layoutEmbed && looksLikeCloudInit(c.UserData):
		return fmt.Errorf("the bootstrap data is for cloud-init, and osFamily %s reads Ignition: set format %s in the bootstrap "+
			"provider's config, or choose the osFamily that fits the image", c.Family, FormatIgnition)
	}
	return nil
}

// ignitionVersion is the version that an Ignition config says it has. Without one
// it may be any JSON.
func ignitionVersion(userData []byte) (version string, ok bool) {
	if first := bytes.TrimSpace(userData); len(first) == 0 || first[0] != '{' {
		return "", false
	}
	var head struct {
		Ignition struct {
			Version string `json:"version"`
		} `json:"ignition"`
	}
	if err := json.Unmarshal(userData, &head); err != nil || head.Ignition.Version == "" {
		return "", false
	}
	return head.Ignition.Version, true
}

func looksLikeCloudInit(userData []byte) bool {
	return slices.ContainsFunc([]string{"#cloud-config", "## template:", "#!", "#include", "Content-Type:", "MIME-Version:"},
		func(begin string) bool {
			return bytes.HasPrefix(userData, []byte(begin))
		})
}
