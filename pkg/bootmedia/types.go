package bootmedia

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-logr/logr"
)

// Family names how an operating system finds its bootstrap data. It is the
// value of osFamily in the API.
type Family string

// The closed set of families. families.go says what each of them reads.
const (
	FamilyGeneric      Family = "generic"
	FamilyUbuntu       Family = "ubuntu"
	FamilyDebian       Family = "debian"
	FamilyTalos        Family = "talos"
	FamilyKairos       Family = "kairos"
	FamilyFlatcar      Family = "flatcar"
	FamilyFedoraCoreOS Family = "fedora-coreos"
	FamilyRHCOS        Family = "rhcos"
	FamilyLeapMicro    Family = "leap-micro"
	FamilyMicroOS      Family = "microos"
	// FamilyNone is an image that carries its own configuration.
	FamilyNone Family = "none"
)

// The formats in which Cluster API bootstrap providers hand over user data
// (key "format" of the bootstrap Secret). Empty means: not said.
const (
	FormatCloudConfig = "cloud-config"
	FormatIgnition    = "ignition"
)

// Pin is what the server of an image said about it when the claim was made.
// A medium that is streamed must still say the same when it is read.
type Pin struct {
	// ETag is the entity tag as sent, quotes and a W/ prefix included; empty
	// when the server has none.
	ETag string
	// Length is the size of the image in bytes; 0 means not pinned.
	Length int64
	// Mirror is where the server sent the look to, if it did: a redirector sends
	// every request to another mirror, and each of them has tags of its own. It is
	// read first, and the image's own URL where it fails. Empty: there was no
	// redirect, or one to a URL with a query, which is signed and ends.
	Mirror string `json:",omitempty"`
}

// Content is everything the two media of one claim are made of. The bytes
// served are a pure function of it.
type Content struct {
	Family   Family
	ImageURL string
	// Checksum is "sha256:<hex>", "sha512:<hex>" or empty. With a checksum the
	// image is cached and verified before a byte of it is served; without one
	// it is streamed under ImagePin.
	Checksum string

	InstanceID    string
	Hostname      string
	ProviderID    string
	FailureDomain string

	// UserData reaches the machine byte for byte. With network data, Flatcar gets
	// it inside an Ignition config that merges it, a combustion script is called
	// by one that writes the network first, and Kairos gets lines behind it.
	UserData []byte
	// UserDataFormat is FormatCloudConfig, FormatIgnition or empty.
	UserDataFormat string
	// NetworkData is in the family's own format: network-config YAML for the
	// families that read it from a NoCloud drive (generic, ubuntu, debian, talos);
	// for all others a JSON object of files by their names. CoreOS, Leap Micro and
	// MicroOS take NetworkManager's keyfiles (*.nmconnection), Flatcar
	// network_data.json and systemd-networkd's files (*.network, *.netdev, *.link),
	// Kairos both services' files. Empty: none.
	NetworkData []byte
	// PhoneHomeURL is the complete URL the machine reports to. A Source leaves
	// it empty and sets Grant.PhoneHomeBase instead, because nobody but the
	// server that was asked for the medium knows the token.
	PhoneHomeURL string
	// PhoneHomeCA is the PEM bundle the machine trusts for PhoneHomeURL, besides
	// its own; empty: only its own.
	PhoneHomeCA []byte

	// ImagePin is what Prepare returned when the claim was made.
	ImagePin Pin
	// Looks is what Prepare saw in the image, for Check; nil when nobody looked
	// yet, which leaves unchecked what depends on it. A Source leaves it nil: the
	// server that is asked for a medium looks into the image itself.
	Looks *ImageLooksLike
	// Rendered, when set, is what the media are made of, whatever else is here of
	// user data, network and names: what was recorded when the grant was made.
	Rendered *Rendered
}

// Grant is what a valid token stands for.
type Grant struct {
	// Host names the host for the access log, as namespace/name.
	Host    string
	Content Content
	// PhoneHomeBase is the URL under which the machine (not the BMC) reaches
	// this server; the server appends the capability of the asking token and
	// fills Content.PhoneHomeURL. Empty: the machine is not asked to report.
	PhoneHomeBase string
	// Expires ends the grant; the zero time never does.
	Expires time.Time
	// Closed: the bootstrap data are not served any more. The media stay as they
	// are, under the same tags, but for the files with data, which read as zeroes.
	Closed bool
}

// ErrUnknown says that no live claim records this token hash: never given out,
// released, revoked or expired. The HTTP answer is 404 for all of them alike.
var ErrUnknown = errors.New("no such medium")

// ErrNotYet says that what a token stands for is not known here, but may be soon,
// as when this replica is behind. The HTTP answer is 503, and the BMC retries.
var ErrNotYet = errors.New("not known here yet")

// Source looks up what a token hash stands for. It is asked once for every
// HTTP request, so a revocation is effective at once; it must answer from
// memory (a cache of the API server) and with ErrUnknown for anything that is
// not currently granted. Any other error is answered 503, and the BMC retries.
type Source interface {
	Grant(ctx context.Context, tokenHash string) (Grant, error)
}

// Outcome is how the bootstrap of a machine ended, as told by the machine.
type Outcome string

// The outcomes. A report that does not say how it ended is no outcome and is
// refused with 400.
const (
	Succeeded Outcome = "Succeeded"
	Failed    Outcome = "Failed"
)

// Recorder makes a phone-home durable. It returns nil only once the receipt is
// stored where every replica sees it; the machine gets its answer after that.
// It must be idempotent, as a machine repeats a report whose answer was lost.
// ErrUnknown: nothing is waiting for this report (answered 404); any other
// error is answered 503.
type Recorder interface {
	PhoneHome(ctx context.Context, tokenHash string, outcome Outcome, detail string) error
}

// Medium is one of the things a BMC can be told to insert.
type Medium string

// The media.
const (
	// Boot is the user's image.
	Boot Medium = "Boot"
	// Config is the drive with the bootstrap data.
	Config Medium = "Config"
	// Composed is both in one: the user's image, every file of it as it was, with
	// the bootstrap data added where its system looks.
	Composed Medium = "Composed"
)

// SlotInfo is a virtual media slot of a BMC: its Redfish member id and its
// MediaTypes (CD, DVD, USBStick, Floppy).
type SlotInfo struct {
	ID    string
	Types []string
	// Stick: what MediaTypes calls a USBStick is known to be a USB disk to the
	// server. Elsewhere it may be a floppy.
	Stick bool
}

// Placement says which medium goes into which slot.
type Placement struct {
	SlotID string
	Medium Medium
}

// Prepared is how far an image is.
type Prepared struct {
	// Ready is true when the image may be inserted: verified in the cache, or
	// pinned and known to support ranges.
	Ready bool
	// Pin belongs into Content.ImagePin. Set only when Ready.
	Pin Pin
	// Progress is for people, for example "downloading 512 of 1024 MiB".
	Progress string
	// Failed is why the last try failed, in words for a person, while the next one has nothing to show yet; else empty.
	Failed string
	// Looks is set only when Ready.
	Looks ImageLooksLike
}

// Options are the dependencies and settings of a Server.
type Options struct {
	Source   Source
	Recorder Recorder
	// CacheDir holds verified images. It is created, and may be emptied at any
	// time the process is not running. Processes may share it where the file
	// system has locks; each then bounds it by itself.
	CacheDir string
	// CacheBytes bounds CacheDir, partial downloads included. 0 means 20 GiB.
	CacheBytes int64
	// Client fetches images; nil means a client with sane time limits.
	Client *http.Client
	Log    logr.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// MaxStreams bounds the requests to image servers that run at one time on
	// behalf of BMCs. 0 means 128.
	MaxStreams int
	// HostStreams bounds those of one host. 0 means 8, or a fourth of MaxStreams if
	// that is less.
	HostStreams int
	// Peers, when set, gives the base URLs under which the other replicas serve
	// media. It is asked while an image is not here yet, as often as a BMC reads,
	// so it answers from memory or keeps its answers for a while. A token is sent
	// to whatever it names.
	Peers func(ctx context.Context) []string
	// PeerClient talks to Peers, and has to make sure that they are that; nil
	// means http.DefaultClient.
	PeerClient *http.Client
	// StreamFailed, when set, is told of a streamed image that could not be
	// served to a host, most of all because it changed since it was pinned.
	StreamFailed func(host, imageURL string, err error)
}
