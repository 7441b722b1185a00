package bootmedia

import (
	"encoding/binary"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestPrepareTellsInWords(t *testing.T) {
	image := testImage(60_000, 1)
	html := []byte(strings.Repeat("<html>sign in</html>", 5000))
	for name, c := range map[string]struct {
		change   func(o *origin)
		checksum string
		path     string
		want     string
	}{
		"404 pinned":     {change: func(o *origin) { o.status = 404 }, want: "there is no such file on the server (404)"},
		"404 cached":     {change: func(o *origin) { o.status = 404 }, checksum: sha256Of(image), want: "there is no such file on the server (404)"},
		"403":            {change: func(o *origin) { o.status = 403 }, want: "refuses access"},
		"500":            {change: func(o *origin) { o.status = 500 }, checksum: sha256Of(image), want: "answered 500"},
		"mismatch":       {checksum: sha256Of(html), want: "checksum mismatch: " + sha256Of(html) + " was asked for, and the file has " + sha256Of(image)},
		"no ranges":      {change: func(o *origin) { o.noRange = true }, want: "does not support range requests"},
		"no ISO pinned":  {change: func(o *origin) { o.image = html }, want: "not an ISO 9660 image"},
		"no ISO cached":  {change: func(o *origin) { o.image = html }, checksum: sha256Of(html), want: "not an ISO 9660 image"},
		"tiny pinned":    {change: func(o *origin) { o.image = html[:20] }, want: "not an ISO 9660 image"},
		"tiny cached":    {change: func(o *origin) { o.image = html[:20] }, checksum: sha256Of(html[:20]), want: "not an ISO 9660 image"},
		"broken":         {change: func(o *origin) { o.cutAfter, o.cuts = 50_000, 99 }, checksum: sha256Of(image), want: "ended after"},
		"bad checksum":   {checksum: "md5:abc", want: "sha256:<64 hex digits>"},
		"short checksum": {checksum: "sha256:abcd", want: "sha256:<64 hex digits>"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, image)
			if c.change != nil {
				r.origin.change(c.change)
			}
			_, err := r.prepare(t, r.origin.URL+"/image.iso?signature=hush", c.checksum)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("the query is in the error: %v", err)
			}
		})
	}
	r := newRig(t, image)
	for _, u := range []string{"", "ftp://h/x.iso", "http://", "http://h/%zz", "/x.iso"} {
		if _, err := r.Prepare(t.Context(), u, ""); err == nil {
			t.Errorf("URL %q accepted", u)
		}
	}
	if _, err := r.prepare(t, "http://127.0.0.1:1/image.iso", ""); err == nil || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestPrepareLooksIn(t *testing.T) {
	image := append(liveImage(t, "my-image", "search --label my-image\nlinux /k quiet"), make([]byte, 4096)...)
	copy(image[embedHeader:], embedMagic)
	binary.LittleEndian.PutUint64(image[embedHeader+8:], uint64(len(image)-4096))
	binary.LittleEndian.PutUint64(image[embedHeader+16:], 4096)
	r := newRig(t, image)
	want := ImageLooksLike{VolumeLabel: "my-image", EmbedBytes: 4096, BootsByLabel: true, CommandLines: []string{"/k quiet"}}
	for _, sum := range []string{"", sha256Of(image)} {
		p, err := r.prepare(t, r.origin.URL+"/image.iso", sum)
		if err != nil || !reflect.DeepEqual(p.Looks, want) || p.Pin.Length != int64(len(image)) {
			t.Errorf("checksum %q: %+v, %v", sum, p, err)
		}
		if sum == "" && p.Pin.ETag != `"v1"` {
			t.Errorf("pin %+v", p.Pin)
		}
	}
}

func TestPrepareRecovers(t *testing.T) {
	image := testImage(60_000, 1)
	for _, sum := range []string{"", sha256Of(image)} {
		r := newRig(t, image)
		r.origin.change(func(o *origin) { o.status = 503 })
		if _, err := r.prepare(t, r.origin.URL+"/image.iso", sum); err == nil {
			t.Fatal("ready while the server is down")
		}
		n := r.origin.count()
		if _, err := r.Prepare(t.Context(), r.origin.URL+"/image.iso", sum); err == nil || r.origin.count() != n {
			t.Errorf("asked again at once (%v)", err)
		}
		r.origin.change(func(o *origin) { o.status = 0 })
		r.forward(probeRetry)
		if p, err := r.prepare(t, r.origin.URL+"/image.iso", sum); err != nil || !p.Ready {
			t.Errorf("after the server came back: %+v, %v", p, err)
		}
	}
}

// Somebody mended what was wrong, and says so: it is tried without the pause.
func TestAgainIsAtOnce(t *testing.T) {
	image := testImage(60_000, 1)
	for _, sum := range []string{"", sha256Of(image)} {
		r := newRig(t, image)
		r.origin.change(func(o *origin) { o.status = 503 })
		if _, err := r.prepare(t, r.origin.URL+"/image.iso", sum); err == nil {
			t.Fatal("ready while the server is down")
		}
		r.origin.change(func(o *origin) { o.status = 0 })
		r.Again(r.origin.URL + "/image.iso")
		if p, err := r.prepare(t, r.origin.URL+"/image.iso", sum); err != nil || !p.Ready {
			t.Errorf("checksum %q: %+v, %v", sum, p, err)
		}
	}
}

func TestOneDownloadForMany(t *testing.T) {
	image := testImage(3_000_000, 1)
	r := newRig(t, image)
	sum := sha256Of(image)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := r.Prepare(t.Context(), r.origin.URL+"/image.iso", sum); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := r.prepare(t, r.origin.URL+"/image.iso", sha256Of(image)); err != nil {
		t.Fatal(err)
	}
	if n := r.origin.count(); n != 1 {
		t.Errorf("%d downloads", n)
	}
}

func TestDownloadResumes(t *testing.T) {
	image := testImage(3_000_000, 1)
	dir := t.TempDir()
	r := newRig(t, image, func(o *Options) { o.CacheDir = dir })
	r.origin.change(func(o *origin) { o.cutAfter, o.cuts = 1_000_000, 1 })
	if _, err := r.prepare(t, r.origin.URL+"/image.iso", sha256Of(image)); err == nil {
		t.Fatal("a broken download is ready")
	}
	r.Close()
	// Another process finds the part and goes on from there.
	again := newRig(t, nil, func(o *Options) { o.CacheDir = dir })
	if _, err := again.prepare(t, r.origin.URL+"/image.iso", sha256Of(image)); err != nil {
		t.Fatal(err)
	}
	r.origin.mu.Lock()
	last := r.origin.requests[len(r.origin.requests)-1]
	r.origin.mu.Unlock()
	if !strings.HasPrefix(last, "GET bytes=") || last == "GET bytes=0-" {
		t.Errorf("the download was not resumed: %q", last)
	}
	third := newRig(t, nil, func(o *Options) { o.CacheDir = dir })
	if p, err := third.Prepare(t.Context(), r.origin.URL+"/image.iso", sha256Of(image)); err != nil || !p.Ready {
		t.Errorf("a third process does not find the image: %+v, %v", p, err)
	}
}

func TestResumeStartsOverWhenTheImageChanged(t *testing.T) {
	old, image := testImage(3_000_000, 1), testImage(2_500_000, 2)
	r := newRig(t, old)
	r.origin.change(func(o *origin) { o.cutAfter, o.cuts = 1_000_000, 1 })
	if _, err := r.prepare(t, r.origin.URL+"/image.iso", sha256Of(image)); err == nil {
		t.Fatal("a broken download is ready")
	}
	r.origin.change(func(o *origin) { o.image, o.etag = image, `"v2"` })
	r.forward(retryFirst)
	if _, err := r.prepare(t, r.origin.URL+"/image.iso", sha256Of(image)); err != nil {
		t.Fatal(err)
	}
}

func TestSHA512(t *testing.T) {
	image := testImage(60_000, 1)
	r := newRig(t, image)
	sum := checksum{algorithm: "sha512"}
	h := sum.hash()
	h.Write(image)
	text := "SHA512:" + strings.ToUpper(hexOf(h.Sum(nil)))
	if p, err := r.prepare(t, r.origin.URL+"/image.iso", text); err != nil || !p.Ready {
		t.Errorf("%+v, %v", p, err)
	}
}

func hexOf(b []byte) string {
	const d = "0123456789abcdef"
	var out []byte
	for _, c := range b {
		out = append(out, d[c>>4], d[c&15])
	}
	return string(out)
}

func TestCacheIsBounded(t *testing.T) {
	r := newRig(t, nil, func(o *Options) { o.CacheBytes = 250_000 })
	fetch := func(image []byte) (Prepared, error) {
		r.origin.change(func(o *origin) { o.image = image; o.etag = "" })
		return r.prepare(t, r.origin.URL+"/image.iso", sha256Of(image))
	}
	has := func(image []byte) bool {
		sum, err := parseChecksum(sha256Of(image))
		if err != nil {
			t.Fatal(err)
		}
		_, err = os.Stat(r.cache.path(sum, doneSuffix))
		return err == nil
	}
	a, b, c := testImage(100_000, 1), testImage(100_000, 2), testImage(100_000, 3)
	for _, image := range [][]byte{a, b} {
		if _, err := fetch(image); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fetch(c); err == nil || !strings.Contains(err.Error(), "full of images in use") {
		t.Fatalf("a third image while two are fresh: %v", err)
	}
	r.forward(idleBeforeEvict)
	if _, err := fetch(a); err != nil { // used again: b is now the older one
		t.Fatal(err)
	}
	if _, err := fetch(c); err != nil {
		t.Fatal(err)
	}
	if !has(a) || has(b) || !has(c) {
		t.Errorf("kept a=%v b=%v c=%v", has(a), has(b), has(c))
	}
	if _, err := fetch(testImage(300_000, 4)); err == nil || !strings.Contains(err.Error(), "enlarge the cache") {
		t.Errorf("an image larger than the cache: %v", err)
	}
	total := int64(0)
	if err := filepath.Walk(r.cache.dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			total += info.Size()
		}
		return err
	}); err != nil || total > 250_000+4096 {
		t.Errorf("%d bytes on disk, %v", total, err)
	}
}

func TestOpenImageIsNotEvicted(t *testing.T) {
	image := testImage(100_000, 1)
	r := newRig(t, image, func(o *Options) { o.CacheBytes = 150_000 })
	u := r.origin.URL + "/image.iso"
	if _, err := r.prepare(t, u, sha256Of(image)); err != nil {
		t.Fatal(err)
	}
	f, err := r.openCached(u, sha256Of(image))
	if err != nil {
		t.Fatal(err)
	}
	r.forward(24 * time.Hour)
	other := testImage(100_000, 2)
	r.origin.change(func(o *origin) { o.image, o.etag = other, "" })
	if _, err := r.prepare(t, u, sha256Of(other)); err == nil {
		t.Error("an open image was evicted")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r.forward(24 * time.Hour)
	if _, err := r.prepare(t, u, sha256Of(other)); err != nil {
		t.Error(err)
	}
}

func TestEmptiedCacheFillsAgain(t *testing.T) {
	image := testImage(100_000, 1)
	r := newRig(t, image)
	u := r.origin.URL + "/image.iso"
	for range 2 {
		if _, err := r.prepare(t, u, sha256Of(image)); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(r.cache.dir); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(r.cache.dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPinIsOfTheTimeOfTheClaim(t *testing.T) {
	r := newRig(t, testImage(60_000, 1))
	u := r.origin.URL + "/image.iso"
	first, err := r.prepare(t, u, "")
	if err != nil {
		t.Fatal(err)
	}
	r.origin.change(func(o *origin) { o.image, o.etag = testImage(70_000, 2), `"v2"` })
	r.forward(probeFresh)
	second, err := r.prepare(t, u, "")
	if err != nil || second.Pin == first.Pin || second.Pin.Length != 70_000 {
		t.Errorf("pins %+v and %+v, %v", first.Pin, second.Pin, err)
	}
}

// silent is a server that takes a request and never answers.
type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestSilentServer(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		woken := make(chan string, 10)
		s := New(Options{CacheDir: dir, Client: &http.Client{Transport: silent{}}})
		defer s.Close()
		s.Notify(func(u string) { woken <- u })
		const u = "http://images.example/image.iso"
		for sum, limit := range map[string]time.Duration{"": probeLimit, sha256Of(nil): stall} {
			start := time.Now()
			p, err := s.Prepare(t.Context(), u, sum)
			if err != nil || p.Ready || p.Progress == "" {
				t.Fatalf("first answer %+v, %v", p, err)
			}
			if d := time.Since(start); d > probeWait {
				t.Errorf("Prepare took %v", d)
			}
			if got := <-woken; got != u || time.Since(start) > limit {
				t.Errorf("woken for %q after %v", got, time.Since(start))
			}
			_, failed := s.Prepare(t.Context(), u, sum)
			if failed == nil || !strings.Contains(failed.Error(), "answer") && !strings.Contains(failed.Error(), "silent") {
				t.Errorf("error %v", failed)
			}
			s.Again(u)
			if p, err := s.Prepare(t.Context(), u, sum); err != nil || failed == nil || p.Failed != failed.Error() {
				t.Errorf("while it is tried again: %+v, %v; it failed with %v", p, err, failed)
			}
			<-woken
		}
	})
}

func TestCloseEndsDownloads(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{CacheDir: dir, Client: &http.Client{Transport: silent{}}})
		for i := range byte(2 * maxDownloads) {
			if _, err := s.Prepare(t.Context(), "http://images.example/image.iso", sha256Of([]byte{i})); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		s.Close() // synctest fails the test if a goroutine is left
		if time.Since(start) > time.Second {
			t.Error("Close waited for the network")
		}
	})
}

func TestNoCacheFolder(t *testing.T) {
	r := newRig(t, testImage(60_000, 1), func(o *Options) { o.CacheDir = "" })
	if _, err := r.Prepare(t.Context(), r.origin.URL+"/image.iso", sha256Of(nil)); err == nil || !strings.Contains(err.Error(), "cache folder") {
		t.Errorf("error %v", err)
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-1/2")
	f.Add("bytes */7")
	f.Add("bytes 0-1/*")
	f.Fuzz(func(t *testing.T, h string) {
		if got, ok := parseContentRange(h); ok && (got.first < 0 || got.last < -1 || got.total < -1 || (got.last >= 0 && got.first > got.last)) {
			t.Fatalf("%q read as %+v", h, got)
		}
	})
}

func FuzzLook(f *testing.F) {
	f.Add("linux /k ds=nocloud\\;s=/cdrom/seed/ quiet", "cidata")
	f.Add("append root=live:CDLABEL=My\\x20Image", "My Image")
	f.Add("search --no-floppy --set=root --label 'x", "x")
	f.Fuzz(func(t *testing.T, text, label string) {
		namesLabel(text, label)
		if c := commandLine(text); len(c) > maxCommandLine+len("…") || strings.Contains(c, "\n") {
			t.Fatalf("%q", c)
		}
		if dir := seedDir(&ImageLooksLike{CommandLines: []string{text}}); strings.HasPrefix(dir, "/") {
			t.Fatalf("%q", dir)
		}
	})
}
