package bootmedia

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"
)

// coreOSImage is an image with an embed area of n bytes at its end.
func coreOSImage(t testing.TB, n int) []byte {
	t.Helper()
	d, err := buildISO("fcos", []isoFile{{"a", []byte("x")}})
	if err != nil {
		t.Fatal(err)
	}
	image, err := io.ReadAll(newSection(d, d.Size()))
	if err != nil {
		t.Fatal(err)
	}
	copy(image[embedHeader:], embedMagic)
	binary.LittleEndian.PutUint64(image[embedHeader+8:], uint64(len(image)))
	binary.LittleEndian.PutUint64(image[embedHeader+16:], uint64(n))
	return append(image, make([]byte, n)...)
}

func asIgnition(g *Grant) {
	g.Content.Family, g.Content.UserData, g.Content.UserDataFormat = FamilyFedoraCoreOS, []byte(`{"ignition":{"version":"3.4.0"}}`), FormatIgnition
}

// TestMediaKeepTheirShapeWithoutTheirData reads each medium as it is made of its content, of a record of that, of a record whose
// data were taken out, and closed: the tag is one, and no byte differs but those of the files with data, which are zeroes.
func TestMediaKeepTheirShapeWithoutTheirData(t *testing.T) {
	for name, c := range map[string]struct {
		image  []byte
		change func(*Grant)
		url    func(string, Token) string
		secret string
	}{
		"composed":     {liveImage(t, "live", "linux /k quiet"), func(*Grant) {}, ComposedURL, "runcmd"},
		"config drive": {liveImage(t, "live", "linux /k quiet"), func(*Grant) {}, ConfigURL, "runcmd"},
		"embed area":   {coreOSImage(t, 300<<10), asIgnition, ComposedURL, "3.4.0"},
	} {
		r := newRig(t, c.image)
		token := r.grant(t, sha256Of(c.image), c.change)
		read := func(change func(*Grant)) (body []byte, tag string) {
			t.Helper()
			g, err := r.registry.Grant(t.Context(), token.Hash())
			if err != nil {
				t.Fatal(err)
			}
			change(&g)
			r.registry.set(token.Hash(), g)
			a := r.get(t, "GET", c.url(r.web.URL, token))
			if a.status != http.StatusOK || a.err != nil {
				t.Fatalf("%s: %d, %v: %s", name, a.status, a.err, a.body)
			}
			return a.body, a.header.Get("ETag")
		}
		whole, tag := read(func(*Grant) {})
		if !bytes.Contains(whole, []byte(c.secret)) {
			t.Fatalf("%s has no data", name)
		}
		closed, closedTag := read(func(g *Grant) { g.Closed = true })
		if bytes.Contains(closed, []byte(c.secret)) || len(closed) != len(whole) || closedTag != tag {
			t.Errorf("%s: closed it has %d bytes and tag %s, want %d and %s", name, len(closed), closedTag, len(whole), tag)
		}
		if files, before := readRockRidge(t, bytes.NewReader(closed)), readRockRidge(t, bytes.NewReader(whole)); len(files) != len(before) {
			t.Errorf("%s: closed it has %d files, want %d", name, len(files), len(before))
		}
		for i := range whole {
			if closed[i] != whole[i] && closed[i] != 0 {
				t.Fatalf("%s: byte %d is %d, was %d", name, i, closed[i], whole[i])
			}
		}
		recordIt, stored := recordOf(t, token, c.image, c.secret)
		recorded, recordedTag := read(recordIt)
		if !bytes.Equal(recorded, whole) || recordedTag != tag {
			t.Errorf("%s: what was recorded reads otherwise than what it was made of", name)
		}
		blank, blankTag := read(func(g *Grant) { g.Content.Rendered = stored; g.Closed = true })
		if !bytes.Equal(blank, closed) || blankTag != tag {
			t.Errorf("%s: without its data the record reads otherwise than closed: %s, want %s", name, blankTag, tag)
		}
		r.Ended(token.Hash()) // so that it is built without them
		if again, againTag := read(func(*Grant) {}); !bytes.Equal(again, closed) || againTag != tag {
			t.Errorf("%s: built without its data the medium reads otherwise than closed", name)
		}
	}
}

// recordOf gives a change of a grant to what was recorded of it, and after that what is left of the record without its data.
func recordOf(t *testing.T, token Token, image []byte, secret string) (change func(*Grant), stored *Rendered) {
	t.Helper()
	stored = &Rendered{}
	return func(g *Grant) {
		content := contentFor(*g, token)
		looks := lookAtImage(t, image)
		content.Looks = &looks
		rendered, err := Render(content)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(rendered)
		if err != nil || bytes.Contains(text, []byte(secret)) {
			t.Fatalf("%v, stored %s", err, text)
		}
		if err := json.Unmarshal(text, stored); err != nil || stored.Fill(map[string][]byte{}) || !rendered.Fill(rendered.Blobs()) {
			t.Fatal(err)
		}
		g.Closed, g.Content.Rendered, g.Content.UserData = false, &rendered, nil
	}, stored
}

func TestARecordTakesNoDataButItsOwn(t *testing.T) {
	rendered := Rendered{Drive: layoutOf("cidata", []isoFile{{"user-data", []byte("right")}}, nil)}
	sum := rendered.Drive.Files[0].Sum
	rendered.Drive.Files[0].Data = nil
	if rendered.Fill(map[string][]byte{sum: []byte("wrong")}) || rendered.Drive.Files[0].Data != nil {
		t.Error("data of another sum were taken")
	}
	if !rendered.Fill(map[string][]byte{sum: []byte("right")}) {
		t.Error("its own data were not taken")
	}
}

// turning calls f when the first bytes of an answer are written.
type turning struct {
	http.ResponseWriter
	once *sync.Once
	f    func()
}

func (w turning) Write(p []byte) (int, error) {
	w.once.Do(w.f)
	return w.ResponseWriter.Write(p)
}

func (w turning) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Who opened a medium before the host was bound, and reads it slowly, gets no more data than who opens it afterwards.
func TestDataEndInTheMiddleOfARead(t *testing.T) {
	d, err := buildISO("live", []isoFile{{"live/root.squashfs", bytes.Repeat([]byte("root"), pieceBytes)}})
	if err != nil {
		t.Fatal(err)
	}
	image, err := io.ReadAll(newSection(d, d.Size()))
	if err != nil {
		t.Fatal(err)
	}
	for _, sum := range []string{"", sha256Of(image)} {
		r := newRig(t, image)
		token := r.grant(t, sum)
		web := newLocal(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			r.Handler().ServeHTTP(turning{w, &sync.Once{}, func() {
				g, err := r.registry.Grant(t.Context(), token.Hash())
				if err != nil {
					t.Error(err)
				}
				g.Closed = true
				r.registry.set(token.Hash(), g)
				r.forward(2 * grantAgain)
			}}, q)
		}))
		a := r.get(t, "GET", ComposedURL(web, token))
		if a.status != http.StatusOK || a.err != nil || len(a.body) <= len(image) {
			t.Fatalf("%d, %v, %d bytes", a.status, a.err, len(a.body))
		}
		if bytes.Contains(a.body, []byte("runcmd")) {
			t.Errorf("checksum %q: bootstrap data were sent after the host was bound", sum)
		}
		if files := readRockRidge(t, bytes.NewReader(a.body)); !bytes.Equal(files["live/root.squashfs"], bytes.Repeat([]byte("root"), pieceBytes)) {
			t.Errorf("checksum %q: the image was not served on", sum)
		}
	}
}
