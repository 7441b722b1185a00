package agent_test

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/diskfs/go-diskfs/filesystem/fat32"

	"github.com/beskar7/beskar7/pkg/agent/block"
	"github.com/beskar7/beskar7/pkg/agent/configdrive"
	"github.com/beskar7/beskar7/pkg/agent/filedisk"
	"github.com/beskar7/beskar7/pkg/agent/gpt"
	"github.com/beskar7/beskar7/pkg/agent/imagetest"
	"github.com/beskar7/beskar7/pkg/agent/protocol"
)

func TestADeployment(t *testing.T) {
	g := newRig(t)
	if err := g.run(); err != nil {
		t.Fatal(err)
	}
	disk := g.contents("nvme0n1")
	table, err := gpt.Read(disk[:mib])
	if err != nil || len(table.Partitions) != 3 || table.Partitions[2].Name != "cidata" {
		t.Fatalf("the disk has %+v, %v", table, err)
	}
	if !bytes.Equal(disk[mib:15*mib], g.image[mib:15*mib]) || !bytes.Equal(disk[:446], g.image[:446]) {
		t.Error("the disk has another image")
	}
	own := table.Partitions[2]
	if string(disk[own.Start+71:own.Start+77]) != "cidata" || !bytes.Contains(disk[own.Start:own.Start+own.Size], []byte("# s3cr3t")) {
		t.Error("the configuration is not where systems look for it")
	}
	readable(t, g, own)
	if !block.Zeroes(g.contents("sda")) || !block.Zeroes(disk[20*mib:own.Start]) {
		t.Error("a tenant's data are left")
	}
	evidence(t, g)
	ordered(t, g.manager.heard())
}

// evidence: what the manager hears in the end, and the firmware.
func evidence(t *testing.T, g *rig) {
	t.Helper()
	last := g.last()
	if last.Step != protocol.StepDone || last.Error != nil || len(last.Erased) != 2 || last.Erased[0].Disk.Serial != "S-nvme0n1" ||
		last.Deployed == nil || last.Deployed.Contents != digestOf(g.image) || last.Deployed.Bytes != 16*mib ||
		last.Deployed.BootEntry != "Boot0001" ||
		last.Deployed.Digest != digestOf(g.packed) {
		t.Errorf("the last word is %+v", last)
	}
	entries := g.server.Entries()
	if len(entries) != 1 || entries[0].Label != "beskar7 node" || entries[0].Partition.Index != 1 || entries[0].Partition.Start != mib {
		t.Errorf("the firmware has %+v", entries)
	}
}

func readable(t *testing.T, g *rig, p gpt.Partition) {
	t.Helper()
	d, err := filedisk.Open(g.server.Folder+"/nvme0n1", 512)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	fs, err := fat32.Read(block.Storage(d, p.Start, p.Size), p.Size, 0, 512)
	if err != nil {
		t.Fatal(err)
	}
	if list, err := fs.ReadDir("."); err != nil || len(list) < 2 {
		t.Errorf("the configuration has %v, %v", list, err)
	}
}

// ordered: one report, then progress of one plan, with steps that only go on.
func ordered(t *testing.T, calls []*protocol.Call) {
	t.Helper()
	if calls[0].Report == nil || calls[0].Report.Agent != "test" || len(calls[0].Report.Disks) != 2 {
		t.Errorf("the first call is %+v", calls[0])
	}
	at := 0
	for _, c := range calls[1:] {
		if c.Run != calls[0].Run || c.Progress == nil || c.Progress.Plan != "claim1" || c.Progress.Generation != 1 {
			t.Fatalf("a call is %+v", c)
		}
		step := slices.Index(protocol.Steps(), c.Progress.Step)
		if step < at {
			t.Errorf("after step %d comes %s", at, c.Progress.Step)
		}
		at = step
	}
}

// refusals end with words for people, and a disk that was to be written does not boot, or was never touched.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(g *rig)
		reason  protocol.Reason
		says    string
		touched bool
	}{
		"another server": {func(g *rig) { g.manager.plan.Server = "bbbbbbbb-0000-4000-8000-00000000000b" }, protocol.ReasonWrongServer,
			"nothing was changed", false},
		"no disk": {func(g *rig) { g.manager.plan.Deploy.Root.Serial = "X" }, protocol.ReasonNoDisk, "no disk fits", false},
		"several disks": {func(g *rig) { g.manager.plan.Deploy.Root = protocol.Selector{} }, protocol.ReasonSeveralDisks, "2 disks fit",
			false},
		"no image": {func(g *rig) { g.manager.images["/image"] = http.NotFoundHandler() }, protocol.ReasonDownload,
			"could not be downloaded",
			false},
		"an image for 4Kn": {func(g *rig) { g.replace(imagetest.Typical(16*mib, 4096).Bytes()) }, protocol.ReasonImage, "blocks of 4096",
			false},
		"no partition table": {func(g *rig) { g.replace(make([]byte, 4*mib)) }, protocol.ReasonImage, "no partition table", false},
		"too large": {func(g *rig) { g.replace(imagetest.Typical(180*mib, 512).Bytes()) }, protocol.ReasonImage, "larger disk",
			false},
		"tampered": {func(g *rig) { g.manager.plan.Deploy.Image.Digest = digestOf(g.image) }, protocol.ReasonImage, "checksum",
			true},
		"not as long as said": {func(g *rig) { g.manager.plan.Deploy.Image.UnpackedSize = 17 * mib }, protocol.ReasonImage,
			"the plan says", true},
		"no secure erasure": {func(g *rig) { g.manager.plan.Erase.Method = protocol.MethodSecure }, protocol.ReasonErase, "no command",
			true},
		"a disk that forgets": {func(g *rig) {
			g.server.Model = func(d *filedisk.Disk, _ protocol.Disk) { d.Stuck = [2]int64{3 * mib, 4 * mib} }
		}, protocol.ReasonErase, "replace it", true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t)
			before := g.contents("nvme0n1")
			c.change(g)
			if err := g.run(); err == nil {
				t.Error("the run ends well")
			}
			last := g.last()
			if last.Error == nil || last.Error.Reason != c.reason || !strings.Contains(last.Error.Message, c.says) || last.Deployed != nil {
				t.Fatalf("the last word is %+v, %+v", last, last.Error)
			}
			if g.server.Touched("nvme0n1") != c.touched {
				t.Error("the disk was opened, or was not")
			}
			after := g.contents("nvme0n1")
			if !c.touched && !bytes.Equal(before, after) {
				t.Error("a disk was changed")
			}
			if c.touched && name != "no secure erasure" && (!block.Zeroes(after[:mib]) || bytes.Contains(after[len(after)-mib:],
				[]byte("EFI PART"))) {
				t.Error("a disk is left that may boot")
			}
			if len(g.server.Entries()) != 0 {
				t.Error("the firmware was told to boot it")
			}
		})
	}
}

// replace serves another image, for which the plan is right.
func (g *rig) replace(image []byte) {
	g.packed = packed(g.t, image)
	g.manager.images["/image"] = g.serve(g.packed)
	g.manager.plan.Deploy.Image.Digest, g.manager.plan.Deploy.Image.Size = digestOf(g.packed), int64(len(g.packed))
}

func TestAKeptDiskIsNotTouched(t *testing.T) {
	g := newRig(t)
	g.manager.plan.Keep = []protocol.Selector{{Serial: "S-sda"}}
	before := g.contents("sda")
	if err := g.run(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, g.contents("sda")) || len(g.last().Erased) != 1 {
		t.Error("the disk to keep was touched")
	}
}

func TestDisksThatAppearLate(t *testing.T) {
	g := newRig(t)
	g.server.Late, g.options.DiskWait = 5, time.Minute
	if err := g.run(); err != nil || g.last().Deployed == nil {
		t.Errorf("%v", err)
	}
}

// The last tenant left a configuration on a disk that is not erased.
func TestAConfigurationOfSomebodyElse(t *testing.T) {
	g := newRig(t)
	g.manager.plan.Erase.RootOnly = true
	d, err := filedisk.Open(g.server.Folder+"/sda", 512)
	if err != nil {
		t.Fatal(err)
	}
	left := &protocol.Data{Label: "CIDATA", Files: []protocol.File{{Path: "user-data", Content: []byte("#cloud-config")}}}
	if err := errors.Join(configdrive.Write(d, 2*mib, configdrive.Size(512), left), d.Close()); err != nil {
		t.Fatal(err)
	}
	if err := g.run(); err == nil {
		t.Error("the run ends well")
	}
	if last := g.last(); last.Error == nil || last.Error.Reason != protocol.ReasonPlan || !strings.Contains(last.Error.Message, "S-sda") {
		t.Errorf("the last word is %+v, %+v", last, last.Error)
	}
	if g.server.Touched("nvme0n1") {
		t.Error("the other disk was opened")
	}
}

func TestErasingOnly(t *testing.T) {
	g := newRig(t)
	g.manager.plan.Deploy = nil
	if err := g.run(); err != nil {
		t.Fatal(err)
	}
	if !block.Zeroes(g.contents("sda")) || !block.Zeroes(g.contents("nvme0n1")) || len(g.last().Erased) != 2 || g.last().Deployed != nil {
		t.Errorf("the last word is %+v", g.last())
	}
}

func TestAnOldTableWithoutConfiguration(t *testing.T) {
	g := newRig(t)
	image := imagetest.Typical(16*mib, 512).Bytes()
	clear(image[512 : 34*512])
	image[450] = 0x83
	g.replace(image)
	g.manager.plan.Deploy.Data = nil
	if err := g.run(); err != nil {
		t.Fatal(err)
	}
	if disk := g.contents("nvme0n1"); !bytes.Equal(disk[:16*mib], image) || g.last().Deployed.BootEntry != "" {
		t.Error("the disk has another image, or an entry that leads nowhere")
	}
}

func TestFirmwareThatTakesNoEntryIsNoFailure(t *testing.T) {
	g := newRig(t)
	g.server.NVRAM = errors.New("no space left on device")
	if err := g.run(); err != nil {
		t.Fatal(err)
	}
	if d := g.last().Deployed; d == nil || d.BootEntry != "" || !strings.Contains(d.Note, "no space left") {
		t.Errorf("the last word is %+v", g.last())
	}
}

func TestTheManagerStopsIt(t *testing.T) {
	for _, step := range []protocol.Step{protocol.StepPlan, protocol.StepErase, protocol.StepWrite} {
		g := newRig(t)
		release := make(chan struct{})
		var told atomic.Bool
		g.manager.answer = func(c *protocol.Call, a *protocol.Answer) {
			if c.Progress != nil && c.Progress.Step == step && c.Progress.Error == nil {
				a.Verdict = protocol.VerdictAbort
				if !told.Swap(true) {
					close(release)
				}
			}
		}
		g.hold(step, release)
		if err := g.run(); err == nil {
			t.Errorf("%s: the run ends well", step)
		}
		last := g.last()
		if last.Error == nil || last.Error.Reason != protocol.ReasonAborted || last.Deployed != nil || last.Step == protocol.StepDone {
			t.Errorf("%s: the last word is %+v, %+v", step, last, last.Error)
		}
		if disk := g.contents("nvme0n1"); step == protocol.StepWrite && !block.Zeroes(disk[:mib]) {
			t.Errorf("%s: a disk is left that may boot", step)
		}
		if step == protocol.StepPlan && g.server.Touched("nvme0n1") {
			t.Error("a disk was touched after the stop")
		}
	}
}

// hold keeps a step from ending before the manager was heard.
func (g *rig) hold(step protocol.Step, release chan struct{}) {
	serve, asked := g.serve(g.packed), 0
	g.manager.images["/image"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if step == protocol.StepPlan && asked == 1 || step == protocol.StepWrite && asked == 2 {
			select {
			case <-release:
			case <-r.Context().Done():
			}
			<-r.Context().Done() // and then comes no byte
			return
		}
		serve.ServeHTTP(w, r)
	})
	if step == protocol.StepErase {
		g.server.Model = func(*filedisk.Disk, protocol.Disk) { <-release }
	}
}

func TestTheImageServerDies(t *testing.T) {
	g := newRig(t)
	serve, asked := g.serve(g.packed), 0
	g.manager.images["/image"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked%2 == 0 {
			w.Header().Set("ETag", `"1"`)
			http.ServeContent(&dying{w, 100_000}, r, "", time.Time{}, bytes.NewReader(g.packed))
			return
		}
		serve.ServeHTTP(w, r)
	})
	if err := g.run(); err != nil {
		t.Fatal(err)
	}
	if asked < 3 || g.last().Deployed == nil {
		t.Errorf("%d requests; the last word is %+v", asked, g.last())
	}
}

// dying ends a response early.
type dying struct {
	http.ResponseWriter
	left int
}

func (d *dying) Write(p []byte) (int, error) {
	n, err := d.ResponseWriter.Write(p[:min(len(p), d.left)])
	if d.left -= n; d.left > 0 || err != nil {
		return n, err
	}
	d.ResponseWriter.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func TestAManagerThatComesAndGoes(t *testing.T) {
	g := newRig(t)
	g.manager.status = []int{503, 500, 200, 503, 429, 200, 502}
	waits := 1
	g.manager.answer = func(c *protocol.Call, a *protocol.Answer) {
		if c.Report != nil && waits > 0 {
			waits--
			a.Verdict, a.Plan = protocol.VerdictWait, nil
		}
	}
	if err := g.run(); err != nil {
		t.Fatal(err)
	}
	if g.last().Step != protocol.StepDone {
		t.Errorf("the last word is %+v", g.last())
	}
}

func TestACapabilityThatWasUsed(t *testing.T) {
	g := newRig(t)
	g.manager.status = []int{403}
	if err := g.run(); err == nil || !strings.Contains(err.Error(), "refuses this capability") || len(g.manager.heard()) != 0 {
		t.Errorf("%v", err)
	}
	// It ends during the work: the claim is gone.
	g = newRig(t)
	g.manager.status = []int{200, 404, 404}
	g.options.Fetch.Stall, g.options.Fetch.Patience = 500*time.Millisecond, time.Minute
	release := make(chan struct{})
	defer close(release)
	g.hold(protocol.StepPlan, release)
	if err := g.run(); err == nil || !strings.Contains(err.Error(), "refuses this capability") {
		t.Errorf("%v", err)
	}
	if g.server.Touched("nvme0n1") {
		t.Error("a disk was touched for a claim that has ended")
	}
}

func TestNothingMoreIsWanted(t *testing.T) {
	g := newRig(t)
	g.manager.answer = func(_ *protocol.Call, a *protocol.Answer) { a.Verdict, a.Plan = protocol.VerdictDone, nil }
	if err := g.run(); err != nil || len(g.manager.heard()) != 1 || g.server.Touched("sda") {
		t.Errorf("%v", err)
	}
}
