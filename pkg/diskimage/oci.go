package diskimage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/beskar7/beskar7/pkg/bootmedia"
)

const (
	ociScheme = "oci://"
	// maxManifest bounds a manifest, in bytes, as registries do.
	maxManifest = 4 << 20
	// locateTime is how long a registry may take to say what an image is.
	locateTime = 2 * time.Minute
)

// locator finds the blobs of images in registries.
type locator struct {
	// config is a file of Docker's form (config.json) with credentials; "" is none. It is read anew for each attempt.
	config string
}

// locate says where the bytes of a source are. sum is its checksum, or the digest of a manifest that the URL names.
func (l locator) locate(ctx context.Context, client *http.Client, url, sum string) (bootmedia.Place, error) {
	text, isOCI := strings.CutPrefix(url, ociScheme)
	if !isOCI {
		return bootmedia.Place{URL: url}, nil
	}
	ref, err := parseOCI(text)
	if err != nil {
		return bootmedia.Place{}, &bootmedia.RefusedError{Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, locateTime)
	defer cancel()
	access, err := l.access(client)
	if err != nil {
		return bootmedia.Place{}, err
	}
	repository := &remote.Repository{Client: access, Reference: ref, MaxMetadataBytes: maxManifest}
	found, layer, err := layerOf(ctx, repository, ref.Reference, 0)
	if err != nil {
		return bootmedia.Place{}, registryError(err)
	}
	blob := "https://" + ref.Host() + "/v2/" + ref.Repository + "/blobs/" + layer.Digest.String()
	place := bootmedia.Place{Client: &scoped{access, ref}, URL: blob}
	if found.String() == sum || ref.Reference == sum {
		place.Checksum = layer.Digest.String() // the manifest is what was named, and it names its layer
	}
	return place, nil
}

// parseOCI reads what is behind oci://: a registry, a repository, and a tag or a digest.
func parseOCI(text string) (registry.Reference, error) {
	ref, err := registry.ParseReference(text)
	if err != nil {
		return registry.Reference{}, refuse("the image URL is not oci://<registry>/<repository>:<tag> or …@sha256:<digest>")
	}
	if ref.Reference == "" {
		return registry.Reference{}, refuse("the image URL names a repository without a tag or a digest")
	}
	return ref, nil
}

// access is a client with credentials, if there are any for a registry.
func (l locator) access(client *http.Client) (*auth.Client, error) {
	// Addresses are judged by the client when they are dialled, in one way for all. Neither it nor what asks for tokens goes from https
	// to http.
	access := &auth.Client{Client: client, Cache: auth.NewCache(), ClientID: "beskar7", BlockedRealmPrefixes: []netip.Prefix{}}
	if l.config == "" {
		return access, nil
	}
	store, err := credentials.NewFileStore(l.config)
	if err != nil {
		return nil, errors.New("the file with credentials for registries cannot be read")
	}
	access.Credential = credentials.Credential(store)
	return access, nil
}

// scoped asks for blobs of one repository.
type scoped struct {
	*auth.Client
	ref registry.Reference
}

// Do sends a request.
func (s *scoped) Do(r *http.Request) (*http.Response, error) {
	return s.Client.Do(r.WithContext(auth.AppendRepositoryScope(r.Context(), s.ref, auth.ActionPull)))
}

// layerOf is the digest of the manifest that a reference names, and the layer that is the image.
func layerOf(ctx context.Context, repository *remote.Repository, reference string, depth int) (digest.Digest, ocispec.Descriptor, error) {
	described, body, err := repository.Manifests().FetchReference(ctx, reference)
	if err != nil {
		return "", ocispec.Descriptor{}, err
	}
	defer body.Close()
	if described.Size > maxManifest {
		return "", ocispec.Descriptor{}, refuse("the manifest of the image is larger than any")
	}
	text, err := content.ReadAll(body, described)
	if err != nil {
		return "", ocispec.Descriptor{}, fmt.Errorf("read manifest: %w", err)
	}
	var manifest struct {
		Manifests []ocispec.Descriptor `json:"manifests"`
		Layers    []ocispec.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		return "", ocispec.Descriptor{}, refuse("the manifest of the image cannot be read")
	}
	switch {
	case len(manifest.Manifests) == 1 && depth == 0:
		_, layer, err := layerOf(ctx, repository, manifest.Manifests[0].Digest.String(), depth+1)
		return described.Digest, layer, err
	case len(manifest.Manifests) > 0:
		return "", ocispec.Descriptor{}, refuse("the reference stands for %d images: name one by its digest", len(manifest.Manifests))
	case len(manifest.Layers) != 1:
		return "", ocispec.Descriptor{}, refuse("the image in the registry has %d layers, and a disk image is one: push the file itself "+
			"(oras push)", len(manifest.Layers))
	case manifest.Layers[0].Digest.Validate() != nil:
		return "", ocispec.Descriptor{}, refuse("the manifest of the image names its layer by a digest that is not known here")
	}
	return described.Digest, manifest.Layers[0], nil
}

// registryError says in words what went wrong, and nothing of what a server said.
func registryError(err error) error {
	if refused, ok := errors.AsType[*Refused](err); ok {
		return &bootmedia.RefusedError{Err: refused}
	}
	if errors.Is(err, errdef.ErrNotFound) {
		return bootmedia.StatusError(http.StatusNotFound)
	}
	if answer, ok := errors.AsType[*errcode.ErrorResponse](err); ok {
		return bootmedia.StatusError(answer.StatusCode)
	}
	if errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return bootmedia.StatusError(http.StatusUnauthorized)
	}
	return bootmedia.NoAnswer(err)
}
