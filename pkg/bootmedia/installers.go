package bootmedia

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// The installers that read no cloud-init user data but answers of their own kind.
const (
	installerSubiquity = "Ubuntu's installer"
	installerDebian    = "Debian's installer"
	installerAnaconda  = "the installer of Fedora and Red Hat (Anaconda)"
)

// maxPackageList is above what live images list: 3,000 packages take 150 KiB.
const maxPackageList = 1 << 20

var (
	ubuntuInstaller = regexp.MustCompile(`^Ubuntu-Server `)
	debianInstaller = regexp.MustCompile(`^Debian [0-9.]+ \S+ (?:n|\d+)$`)
	cloudInit       = regexp.MustCompile(`(?m)^cloud-init(?::[a-z0-9]+)?\s`)
)

// lookForSystem finds out what kind of system the image starts, as far as its
// files say. Without a trace the looks stay as they are. Ubuntu's installer has
// casper/install-sources.yaml, which no other casper image has; live-build leaves
// a list of packages beside the system; Debian's installer is named by its label.
func (v *volume) lookForSystem(r io.ReaderAt, looks *ImageLooksLike) error {
	_, sources, err := v.lookUp(r, "casper/install-sources.yaml")
	if err != nil {
		return err
	}
	if sources {
		looks.Installer = installerSubiquity
	}
	for _, path := range []string{"live/filesystem.packages", "casper/filesystem.manifest"} {
		list, found, err := v.readFile(r, path, maxPackageList)
		if err != nil {
			return err
		}
		if found && list != "" && len(list) < maxPackageList {
			looks.WithoutCloudInit = !cloudInit.MatchString(list)
		}
	}
	return nil
}

// installer is the installer that an image starts; empty: none that is known.
func (l *ImageLooksLike) installer() string {
	anaconda := func(a string) bool { return strings.HasPrefix(a, "inst.stage2=") || strings.HasPrefix(a, "inst.repo=") }
	_, found := l.lines(anaconda)
	switch {
	case l.Installer != "":
		return l.Installer
	case ubuntuInstaller.MatchString(l.VolumeLabel):
		return installerSubiquity
	case debianInstaller.MatchString(l.VolumeLabel):
		return installerDebian
	case found:
		return installerAnaconda
	}
	return ""
}

// checkCloudInit refuses, for the families that read by cloud-init, an image in
// which nothing would read the bootstrap data.
func checkCloudInit(c Content) error {
	installer := c.Looks.installer()
	switch {
	case installer == installerSubiquity && autoinstalls(c.UserData):
		return nil
	case installer == installerSubiquity:
		return fmt.Errorf("the image is %s, which reads bootstrap data with an autoinstall section only, and waits for a person "+
			"without: "+
			"use a live image with kubeadm and cloud-init in it, or a disk image with bootMode Deploy", installer)
	case installer != "":
		return fmt.Errorf("the image is %s, which does not read cloud-init user data: "+
			"use a live image with kubeadm and cloud-init in it, or a disk image with bootMode Deploy", installer)
	case c.Looks.WithoutCloudInit:
		return fmt.Errorf("the image has a list of its packages and cloud-init is not in it, so that nothing would read the "+
			"bootstrap data: "+
			"build it with cloud-init, or use another image for osFamily %s", c.Family)
	}
	return nil
}
