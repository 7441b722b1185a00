package diskimage

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// left are the files in the folder of a store, by how their names end.
func (r *rig) left(t testing.TB, suffix string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(r.dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestQcow2IsConvertedOnceForAll(t *testing.T) {
	file, want := fixture(t, "v3-zstd.qcow2"), fixture(t, "disk.raw")
	o := newOrigin(t, file)
	r := newRig(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, err := r.Prepare(t.Context(), Source{o.URL + "/x.img", sha256Of(file)})
			if notYet := new(NotYet); err != nil && (!errors.As(err, &notYet) || notYet.Message == "") {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	ready, err := r.prepare(t, o.URL+"/x.img", sha256Of(file))
	if err != nil {
		t.Fatal(err)
	}
	if ready.Format != FormatRawZstd || ready.SectorSize != 512 || !bytes.Equal(asTheAgent(t, ready, r.contents(t, ready.Digest)), want) {
		t.Errorf("%+v", ready)
	}
	if n := len(o.requests()); n != 1 {
		t.Errorf("%d downloads", n)
	}
	if len(r.left(t, ".part"))+len(r.left(t, ".new")) != 0 {
		t.Error("what it was made of is left")
	}
	// Another replica makes the same bytes of it; a later process has them.
	other, err := newRig(t).prepare(t, o.URL+"/x.img", sha512Of(file))
	if err != nil || other != ready {
		t.Errorf("another replica has %+v, %v", other, err)
	}
	r.Close()
	asked := len(o.requests())
	again := newRig(t, func(o *Options) { o.Dir = filepath.Dir(r.dir) })
	got, err := again.Prepare(t.Context(), Source{o.URL + "/x.img", sha256Of(file)})
	if err != nil || got != ready || len(o.requests()) != asked {
		t.Errorf("a later process has %+v, %v", got, err)
	}
}

// TestNothingIsServedUnverified: neither before all of it came, nor of what has another checksum, nor what does not unpack.
func TestNothingIsServedUnverified(t *testing.T) {
	for name, file := range map[string][]byte{"raw": disk(512), "zstd": pack(t, FormZstd, disk(512)), "qcow2": fixture(t, "v3.qcow2")} {
		tampered := bytes.Clone(file)
		tampered[len(file)-200] ^= 1
		for what, c := range map[string]struct {
			served []byte
			says   string
		}{
			"tampered": {tampered, "checksum mismatch"}, "shorter": {file[:len(file)-1], "checksum mismatch"},
			"longer": {append(bytes.Clone(file), 0), "checksum mismatch"},
		} {
			o := newOrigin(t, c.served)
			r := newRig(t)
			_, err := r.prepare(t, o.URL+"/x", sha256Of(file))
			if refused := new(Refused); !errors.As(err, &refused) || !strings.Contains(refused.Message, c.says) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			for _, digest := range []string{sha256Of(file), sha256Of(c.served)} {
				if _, _, err := r.Open(digest); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s, %s: it is served: %v", name, what, err)
				}
			}
			if files := slices.Concat(r.left(t, imageSuffix), r.left(t, imageSuffix+".json"), r.left(t, ".new")); len(files) > 0 {
				t.Errorf("%s, %s: left %v", name, what, files)
			}
			// Once the server has the right file it is taken.
			o.change(func() { o.file, o.etag = file, `"v2"` })
			r.Again(o.URL + "/x")
			if _, err := r.prepare(t, o.URL+"/x", sha256Of(file)); err != nil {
				t.Errorf("%s, %s, put right: %v", name, what, err)
			}
		}
	}
	// While it is on its way.
	file := disk(512)
	o := newOrigin(t, file)
	o.hold = make(chan struct{})
	r := newRig(t)
	if _, err := r.Prepare(t.Context(), Source{o.URL + "/x", sha256Of(file)}); err == nil {
		t.Error("ready before it came")
	}
	if _, _, err := r.Open(sha256Of(file)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is served: %v", err)
	}
	close(o.hold)
}

// TestPackedImagesThatAreRefused: their checksum is right, and what they hold is not.
func TestPackedImagesThatAreRefused(t *testing.T) {
	qcow2 := fixture(t, "v3.qcow2")
	for _, form := range []Form{FormGzip, FormZstd, FormXZ} {
		good := pack(t, form, disk(512))
		broken := bytes.Clone(good)
		broken[len(broken)/2] ^= 1
		for name, c := range map[string]struct {
			file []byte
			says string
		}{
			"cut short":      {good[:len(good)*2/3], "cannot be unpacked"},
			"cut at the end": {good[:len(good)-1], "cannot be unpacked"},
			"broken":         {broken, "cannot be unpacked"},
			"rubbish behind": {append(bytes.Clone(good), "rubbish"...), "cannot be unpacked"},
			"a tar":          {pack(t, form, put(257, "ustar")), "tar archive"},
			"a CD":           {pack(t, form, put(32769, "CD001")), "installer or live image"},
			"qcow2":          {pack(t, form, qcow2), "inside is qcow2 again"},
			"nothing":        {pack(t, form, nil), "is empty"},
		} {
			o := newOrigin(t, c.file)
			r := newRig(t)
			_, err := r.prepare(t, o.URL+"/x.raw", sha256Of(c.file))
			if refused := new(Refused); !errors.As(err, &refused) || !strings.Contains(refused.Message, c.says) {
				t.Errorf("%s, %s: %v", form, name, err)
				continue
			}
			// The same bytes are not fetched again to find out the same.
			asked := len(o.requests())
			r.forward(time.Hour)
			if _, err := r.prepare(t, o.URL+"/x.raw", sha256Of(c.file)); err == nil || len(o.requests()) != asked {
				t.Errorf("%s, %s: asked for again, %v", form, name, err)
			}
			if files, err := os.ReadDir(r.dir); err != nil || slices.ContainsFunc(files, func(f os.DirEntry) bool {
				info, err := f.Info()
				return err != nil || info.Size() > 0
			}) {
				t.Errorf("%s, %s: it takes room: %v, %v", form, name, files, err)
			}
		}
	}
}

// TestWrongFilesAreFoundOutEarly: with their beginning, not after gigabytes.
func TestWrongFilesAreFoundOutEarly(t *testing.T) {
	file := append(put(32769, "CD001"), make([]byte, 64*mib)...)
	o := newOrigin(t, file)
	r := newRig(t)
	if _, err := r.prepare(t, o.URL+"/x.iso", sha256Of(file)); err == nil || !strings.Contains(err.Error(), "bootMode") {
		t.Error(err)
	}
	if n := o.sent.Load(); n > 32*mib {
		t.Errorf("%d bytes were sent", n)
	}
}

func TestDownloadsThatBreakGoOn(t *testing.T) {
	file := fixture(t, "v3.qcow2")
	for _, noRange := range []bool{false, true} {
		o := newOrigin(t, file)
		o.change(func() { o.cuts, o.cutAfter, o.noRange = 1, 300<<10, noRange })
		dir := t.TempDir()
		r := newRig(t, func(o *Options) { o.Dir = dir })
		_, err := r.prepare(t, o.URL+"/x", sha256Of(file))
		if refused := new(Refused); err == nil || errors.As(err, &refused) {
			t.Fatalf("a broken download: %v", err)
		}
		r.Close()
		again := newRig(t, func(o *Options) { o.Dir = dir })
		if _, err := again.prepare(t, o.URL+"/x", sha256Of(file)); err != nil {
			t.Fatal(err)
		}
		if asked := o.requests(); !noRange && (len(asked) != 2 || asked[1] == "") {
			t.Errorf("asked for %q", asked)
		}
	}
}

// TestConversionThatIsCutShort goes on without another download: what a process that was killed leaves is the download, what was
// noted of it, and a piece of what was made.
func TestConversionThatIsCutShort(t *testing.T) {
	file := fixture(t, "v3.qcow2")
	o := newOrigin(t, file)
	dir := t.TempDir()
	// There is room for the download only.
	small := newRig(t, func(o *Options) { o.Dir, o.MaxBytes = dir, int64(len(file)) })
	_, err := small.prepare(t, o.URL+"/x", sha256Of(file))
	if refused := new(Refused); err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "enlarge the cache") {
		t.Fatalf("no room: %v", err)
	}
	if len(small.left(t, imageSuffix))+len(small.left(t, ".new")) != 0 {
		t.Error("something of it is left")
	}
	small.Close()
	parts := small.left(t, ".part")
	if len(parts) != 1 {
		t.Fatalf("left: %v", parts)
	}
	if err := os.WriteFile(strings.TrimSuffix(parts[0], ".part")+".new", []byte("a piece of what was made"), 0o600); err != nil {
		t.Fatal(err)
	}
	asked := len(o.requests())
	again := newRig(t, func(o *Options) { o.Dir = dir })
	ready, err := again.prepare(t, o.URL+"/x", sha256Of(file))
	if err != nil || len(o.requests()) != asked {
		t.Fatalf("after %d more requests: %v", len(o.requests())-asked, err)
	}
	if !bytes.Equal(asTheAgent(t, ready, again.contents(t, ready.Digest)), fixture(t, "disk.raw")) {
		t.Error("another disk is served")
	}
	if len(again.left(t, ".part"))+len(again.left(t, ".new")) != 0 {
		t.Error("something of it is left")
	}
}

// TestDownloadThatWasNotAllOnDisk when the power went is fetched again, whatever was noted of it.
func TestDownloadThatWasNotAllOnDisk(t *testing.T) {
	file := fixture(t, "v3.qcow2")
	o := newOrigin(t, file)
	dir := t.TempDir()
	small := newRig(t, func(o *Options) { o.Dir, o.MaxBytes = dir, int64(len(file)) })
	if _, err := small.prepare(t, o.URL+"/x", sha256Of(file)); err == nil {
		t.Fatal("no room was needed")
	}
	small.Close()
	for _, part := range small.left(t, ".part") {
		if err := os.WriteFile(part, make([]byte, len(file)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := newRig(t, func(o *Options) { o.Dir = dir })
	if ready, err := again.prepare(t, o.URL+"/x", sha256Of(file)); err != nil || ready.UnpackedSize != int64(len(fixture(t, "disk.raw"))) {
		t.Errorf("%+v, %v", ready, err)
	}
}

// TestKeptImagesThatAreDamaged are made anew: one that is cut short, and one of which nothing is known.
func TestKeptImagesThatAreDamaged(t *testing.T) {
	file := disk(512)
	o := newOrigin(t, file)
	for name, damage := range map[string]func(image string) error{
		"cut short": func(image string) error { return os.Truncate(image, 1000) },
		"no note":   func(image string) error { return os.Remove(image + ".json") },
		"bad note":  func(image string) error { return os.WriteFile(image+".json", []byte("{"), 0o600) },
	} {
		r := newRig(t)
		if _, err := r.prepare(t, o.URL+"/x", sha256Of(file)); err != nil {
			t.Fatal(err)
		}
		r.Close()
		if err := damage(r.left(t, imageSuffix)[0]); err != nil {
			t.Fatal(err)
		}
		again := newRig(t, func(o *Options) { o.Dir = filepath.Dir(r.dir) })
		if _, _, err := again.Open(sha256Of(file)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: it is served: %v", name, err)
		}
		if ready, err := again.prepare(t, o.URL+"/x", sha256Of(file)); err != nil || !bytes.Equal(again.contents(t, ready.Digest), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTwoProcessesWithOneFolder: one of them works on an image, and both have it then.
func TestTwoProcessesWithOneFolder(t *testing.T) {
	file := fixture(t, "v3.qcow2")
	o := newOrigin(t, file)
	o.hold = make(chan struct{})
	dir := t.TempDir()
	first, second := newRig(t, func(o *Options) { o.Dir = dir }), newRig(t, func(o *Options) { o.Dir = dir })
	if _, err := first.Prepare(t.Context(), Source{o.URL + "/x", sha256Of(file)}); err == nil {
		t.Fatal("ready at once")
	}
	<-o.arrived
	if _, err := second.prepare(t, o.URL+"/x", sha256Of(file)); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("both work on it: %v", err)
	}
	close(o.hold)
	want, err := first.prepare(t, o.URL+"/x", sha256Of(file))
	if err != nil {
		t.Fatal(err)
	}
	second.Again(o.URL + "/x")
	if got, err := second.prepare(t, o.URL+"/x", sha256Of(file)); err != nil || got != want || len(o.requests()) != 1 {
		t.Errorf("%+v, %v, %d downloads", got, err, len(o.requests()))
	}
}

// TestTheFolderIsBounded: the longest unused images go, and none that is read or was just asked for.
func TestTheFolderIsBounded(t *testing.T) {
	images := [][]byte{disk(512), disk(4096), append(disk(512), 1)}
	o := newOrigin(t, nil)
	r := newRig(t, func(o *Options) { o.MaxBytes = 9 * mib })
	fetch := func(i int) error {
		o.change(func() { o.file, o.etag = images[i], sha256Of(images[i]) })
		r.Again(o.URL + "/x")
		_, err := r.prepare(t, o.URL+"/x", sha256Of(images[i]))
		return err
	}
	has := func(i int) bool {
		f, _, err := r.Open(sha256Of(images[i]))
		if err == nil {
			_ = f.Close()
		}
		return err == nil
	}
	if err := errors.Join(fetch(0), fetch(1)); err != nil {
		t.Fatal(err)
	}
	if err := fetch(2); err == nil || !strings.Contains(err.Error(), "full of images in use") {
		t.Errorf("three where two have room, all fresh: %v", err)
	}
	reading, _, err := r.Open(sha256Of(images[0]))
	if err != nil {
		t.Fatal(err)
	}
	r.forward(time.Hour)
	if err := fetch(2); err != nil || has(1) || !has(0) || !has(2) {
		t.Errorf("while one is read: %v, %v %v %v", err, has(0), has(1), has(2))
	}
	if err := reading.Close(); err != nil {
		t.Fatal(err)
	}
	r.forward(time.Hour)
	if err := fetch(1); err != nil || !has(1) {
		t.Errorf("when it was read: %v", err)
	}
	if len(r.left(t, imageSuffix)) != 2 || len(r.left(t, imageSuffix+".json")) != 2 {
		t.Errorf("on disk: %v", r.left(t, ""))
	}
}

// TestOneImageIsWorkedOnAtATime: what the others wait for is told.
func TestOneImageIsWorkedOnAtATime(t *testing.T) {
	file := fixture(t, "v3.qcow2")
	o := newOrigin(t, file)
	r := newRig(t)
	r.working <- struct{}{} // somebody works
	ask := func() error {
		_, err := r.Prepare(t.Context(), Source{o.URL + "/x", sha256Of(file)})
		return err
	}
	for deadline := time.After(time.Minute); ; {
		err := ask()
		if notYet := new(NotYet); !errors.As(err, &notYet) {
			t.Fatalf("it does not wait: %v", err)
		} else if strings.Contains(notYet.Message, "waiting for another image") {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("it does not wait: %v", err)
		default:
			runtime.Gosched()
		}
	}
	<-r.working
	if _, err := r.prepare(t, o.URL+"/x", sha256Of(file)); err != nil {
		t.Error(err)
	}
}

// TestCloseEndsWork, and the next process goes on with it.
func TestCloseEndsWork(t *testing.T) {
	file := fixture(t, "v3.qcow2")
	o := newOrigin(t, file)
	r := newRig(t)
	r.working <- struct{}{}
	_, _ = r.Prepare(t.Context(), Source{o.URL + "/x", sha256Of(file)})
	r.Close()
	if _, err := r.Prepare(t.Context(), Source{o.URL + "/x", sha256Of(file)}); err == nil {
		t.Error("it goes on")
	}
	again := newRig(t, func(o *Options) { o.Dir = filepath.Dir(r.dir) })
	if _, err := again.prepare(t, o.URL+"/x", sha256Of(file)); err != nil {
		t.Error(err)
	}
}
