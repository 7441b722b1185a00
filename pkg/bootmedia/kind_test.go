package bootmedia

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"testing"
	"time"
)

// workshop is a kind whose files are made of downloads, and what may go wrong with that.
type workshop struct {
	fail error
	runs int
}

func (w *workshop) kind() Kind {
	return Kind{Suffix: ".made", Setting: "--size",
		Begin: func(io.ReaderAt, int64, bool) (bool, error) { return true, nil },
		Know:  func(path string) (any, error) { return os.ReadFile(path) },
		Finish: func(_ context.Context, v *Verified) (any, error) {
			w.runs++
			out, err := v.Make()
			if err != nil {
				return nil, err
			}
			if _, err := out.WriteString("made of it"); err != nil {
				return nil, err
			}
			v.Progress("working")
			return []byte("made of it"), errors.Join(v.Reserve(10), w.fail)
		}}
}

// bench is a cache of a workshop's files.
type bench struct {
	*Cache
	woken chan string
	now   time.Time
}

func newBench(t *testing.T, dir string, w *workshop) *bench {
	t.Helper()
	b := &bench{woken: make(chan string, 10), now: time.Now()}
	b.Cache = NewCache(CacheOptions{Dir: dir, Bytes: 1 << 30, Kind: w.kind(), Now: func() time.Time { return b.now },
		Tell: func(u string) { b.woken <- u }})
	t.Cleanup(b.Close)
	return b
}

func (b *bench) ensure(t *testing.T, url, sum string) (Status, error) {
	t.Helper()
	for {
		status, err := b.Ensure(url, sum)
		if err != nil || status.Ready {
			return status, err
		}
		<-b.woken
	}
}

// Work that failed is done again without another download; what is made has the name, and the download is gone.
func TestWorkIsDoneAgainWithoutADownload(t *testing.T) {
	image := testImage(60_000, 1)
	source, dir := newOrigin(t, image), t.TempDir()
	w := &workshop{fail: errors.New("the tool broke")}
	b := newBench(t, dir, w)
	if _, err := b.ensure(t, source.URL, sha256Of(image)); !errors.Is(err, w.fail) {
		t.Fatal(err)
	}
	if _, _, err := b.Open(func(any) bool { return true }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there: %v", err)
	}
	b.Close()
	w.fail = nil
	again := newBench(t, dir, w)
	status, err := again.ensure(t, source.URL, sha256Of(image))
	if err != nil || status.Size != 10 || source.count() != 1 || w.runs != 2 {
		t.Fatalf("%+v, %v after %d downloads and %d runs", status, err, source.count(), w.runs)
	}
	f, known, err := again.Open(func(known any) bool { return bytes.Equal(known.([]byte), []byte("made of it")) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if got, err := io.ReadAll(f); err != nil || string(got) != "made of it" || known == nil {
		t.Errorf("%q, %v", got, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// What was noted to be whole and is not any more is no proof of anything.
func TestWhatIsNotedIsVerifiedAgain(t *testing.T) {
	image := testImage(60_000, 1)
	source, dir := newOrigin(t, image), t.TempDir()
	w := &workshop{fail: errors.New("the tool broke")}
	b := newBench(t, dir, w)
	if _, err := b.ensure(t, source.URL, sha256Of(image)); !errors.Is(err, w.fail) {
		t.Fatal(err)
	}
	b.Close()
	sum, err := parseChecksum(sha256Of(image))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.path(sum, partSuffix), testImage(60_000, 2), 0o600); err != nil {
		t.Fatal(err)
	}
	w.fail = nil
	if _, err := newBench(t, dir, w).ensure(t, source.URL, sha256Of(image)); err != nil || source.count() != 2 || w.runs != 2 {
		t.Errorf("%v after %d downloads and %d runs", err, source.count(), w.runs)
	}
}

// The bytes of a checksum never change: what is refused is not fetched again, unless the server says that
// it has another file, and somebody asks.
func TestWhatIsRefusedIsNotFetchedAgain(t *testing.T) {
	image := testImage(60_000, 1)
	source := newOrigin(t, image)
	w := &workshop{fail: &RefusedError{errors.New("no such thing can be made of it")}}
	b := newBench(t, t.TempDir(), w)
	for range 3 {
		if _, err := b.ensure(t, source.URL, sha256Of(image)); !errors.Is(err, w.fail) {
			t.Fatal(err)
		}
		b.now = b.now.Add(retryMost)
	}
	if source.count() != 1 {
		t.Errorf("%d downloads", source.count())
	}
	w.fail = nil
	source.change(func(o *origin) { o.etag = `"v2"` })
	b.Forgive(source.URL)
	if _, err := b.ensure(t, source.URL, sha256Of(image)); err != nil {
		t.Error(err)
	}
}
