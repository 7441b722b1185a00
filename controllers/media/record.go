package media

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/bootmedia"
)

// The record of a medium
//
// What a medium is made of is recorded in a Secret before the grant is written to the host, and the grant holds its hash. From
// then on a renewed CA, a changed host, a bootstrap Secret that is gone or a newer version of ours change no byte of the medium,
// on any replica. The record names host, claim and token: who may write hosts and no Secrets can neither have another Secret
// served nor this one to a token of his own. Once the host is bound the bootstrap data are taken out of it; what is left says how
// long they were, so that the medium keeps its shape.

// RecordKey holds the record as JSON; the data of each file are beside it, compressed, under blobPrefix and their SHA-256.
const RecordKey, blobPrefix = "medium", "data-"

// Record is what one grant's media are made of.
type Record struct {
	Host            string             `json:"host"`
	ClaimID         string             `json:"claimID"`
	TokenHash       string             `json:"tokenHash"`
	BootstrapSecret string             `json:"bootstrapSecret"`
	Family          bootmedia.Family   `json:"osFamily"`
	ImageURL        string             `json:"imageURL"`
	Checksum        string             `json:"checksum,omitempty"`
	ImageETag       string             `json:"imageETag,omitempty"`
	ImageLength     int64              `json:"imageLength,omitempty"`
	ImageMirror     string             `json:"imageMirror,omitempty"`
	Rendered        bootmedia.Rendered `json:"rendered"`

	// whole: the data are there, too.
	Whole bool
}

func (m *Record) content() bootmedia.Content {
	return bootmedia.Content{Family: m.Family, ImageURL: m.ImageURL, Checksum: m.Checksum,
		ImagePin: bootmedia.Pin{ETag: m.ImageETag, Length: m.ImageLength, Mirror: m.ImageMirror}, Rendered: &m.Rendered}
}

// RecordName is the name of the Secret that records the media of a token.
func RecordName(host, tokenHash string) string {
	return strings.TrimRight(host[:min(len(host), 200)], ".-") + "-medium-" + tokenHash[:min(len(tokenHash), 16)]
}

// Secret is the record as it is stored, and its hash as the grant has it. It has no owner: a restore gives the host another UID, and the
// garbage collector would take the record, with the medium that a system runs from. The host controller deletes it with its grant,
// Sweep what is left; clusterctl moves it by its label.
func (m *Record) Secret(host *v1beta1.PhysicalHost) (*corev1.Secret, string, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, "", fmt.Errorf("record the medium: %w", err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: host.Namespace, Name: RecordName(host.Name, m.TokenHash),
			Labels: map[string]string{clusterv1.ClusterNameLabel: host.Spec.Claim.Cluster, clusterctlv1.ClusterctlMoveLabel: "", v1beta1.MediumLabel: ""}},
		Type: v1beta1.MediumSecretType,
		Data: map[string][]byte{RecordKey: text},
	}
	if filter, ok := host.Labels[clusterv1.WatchLabel]; ok {
		secret.Labels[clusterv1.WatchLabel] = filter
	}
	for sum, data := range m.Rendered.Blobs() {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, err := w.Write(data)
		if err := errors.Join(err, w.Close()); err != nil {
			return nil, "", fmt.Errorf("record the medium: %w", err)
		}
		secret.Data[blobPrefix+sum] = packed.Bytes()
	}
	return secret, hashOf(text), nil
}

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// RecordError says why a record is not that of a host's grant. It does not mend itself.
type RecordError string

func (e RecordError) Error() string { return string(e) }

// RecordOf reads the record of a host's grant. A *RecordError: it is none of this grant's. Not found: it is gone, or not yet seen.
func RecordOf(ctx context.Context, reader client.Reader, host *v1beta1.PhysicalHost) (*corev1.Secret, error) {
	grant := host.Spec.Claim.Media
	if grant.MediumHash == "" {
		return nil, RecordError("no medium was recorded for the grant: it was made by an older version, or not by the host controller; the next boot gets a new one")
	}
	secret := &corev1.Secret{}
	name := client.ObjectKey{Namespace: host.Namespace, Name: RecordName(host.Name, grant.TokenHash)}
	if err := reader.Get(ctx, name, secret); err != nil {
		return nil, fmt.Errorf("read the medium's Secret %s: %w", name.Name, err)
	}
	if secret.Type != v1beta1.MediumSecretType || hashOf(secret.Data[RecordKey]) != grant.MediumHash {
		return nil, RecordError(fmt.Sprintf("Secret %s is not the medium that was recorded for the grant", name.Name))
	}
	return secret, nil
}

// ReadRecord takes a record out of its Secret and holds it against the host.
func ReadRecord(secret *corev1.Secret, host *v1beta1.PhysicalHost) (*Record, error) {
	m := &Record{}
	if err := json.Unmarshal(secret.Data[RecordKey], m); err != nil {
		return nil, RecordError("the recorded medium cannot be read")
	}
	claim := host.Spec.Claim
	if m.Host != host.Name || m.ClaimID != claim.ID || m.TokenHash != claim.Media.TokenHash {
		return nil, RecordError("the recorded medium is that of another grant")
	}
	blobs := map[string][]byte{}
	for name, packed := range secret.Data {
		if sum, ok := strings.CutPrefix(name, blobPrefix); ok {
			data, err := unpack(packed)
			if err != nil {
				return nil, RecordError("the recorded medium is damaged")
			}
			blobs[sum] = data
		}
	}
	m.Whole = m.Rendered.Fill(blobs)
	return m, nil
}

// maxBlob is far above what fits into a Secret uncompressed.
const maxBlob = 64 << 20

func unpack(packed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, maxBlob))
}

// Blanked is the patch that takes the data out of a record; nil if there are none.
func Blanked(secret *corev1.Secret) (client.Patch, error) {
	data := map[string]any{}
	for name := range secret.Data {
		if strings.HasPrefix(name, blobPrefix) {
			data[name] = nil
		}
	}
	if len(data) == 0 {
		return nil, nil
	}
	// Under the UID that was seen: another Secret of that name is none of ours.
	text, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": secret.UID}, "data": data})
	return client.RawPatch(types.MergePatchType, text), err
}
