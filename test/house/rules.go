package house

const (
	product = "github.com/beskar7/beskar7"
	// maxFunction and maxFile are lines, maxColumn characters of a line. A function has to fit on a screen; a file has to be read in
	// one sitting.
	maxFunction = 60
	maxFile     = 400
	maxColumn   = 140
	// maxStatements counts the statements of a function, those in its blocks and closures among them: lines alone can be packed.
	maxStatements = 50
)

// badNames say nothing about what is inside, and so everything ends up there.
var badNames = map[string]bool{
	"util": true, "utils": true, "common": true, "helper": true, "helpers": true, "manager": true, "misc": true, "shared": true,
}

// layer says what of ours a package may import outside its tests, itself or through others. Each package of the product has a row;
// for another one the longest folder that fits counts.
type layer struct {
	folder string
	// ours are folders of the product; each stands for exactly one package.
	ours   []string
	reason string
}

// agentParts are what the agent is made of.
var agentParts = []string{"pkg/agent/block", "pkg/agent/configdrive", "pkg/agent/erase", "pkg/agent/fetch", "pkg/agent/gpt",
	"pkg/agent/image", "pkg/agent/protocol", "pkg/agent/selection", "pkg/serverid"}

var layers = []layer{
	{"api/v1beta1", nil, "the API is imported by everything, so it imports nothing of ours"},
	{"pkg/provision", []string{"api/v1beta1"}, "decisions are pure: facts in, decision out"},
	{"pkg/hostselection", []string{"api/v1beta1"}, "selection is pure: hosts in, ranking out"},
	{"pkg/serverid", nil, "what identifies a server is pure, and the same for all who compare"},
	{"pkg/endpoint", nil, "addresses are judged alike by all who dial them"},
	{"pkg/authority", nil, "certificates are made of names and time, whoever they are for"},
	{"pkg/redfish", []string{"pkg/endpoint"}, "the driver knows BMCs and nothing of Kubernetes or of ours"},
	{"pkg/redfish/redfishfake", []string{"pkg/redfish", "pkg/endpoint"}, "a BMC in memory knows the driver's interfaces only"},
	{"pkg/redfish/redfishtest", []string{"pkg/redfish", "pkg/endpoint"}, "what every BMC has to pass knows the driver's interfaces only"},
	{"pkg/bootmedia", []string{"pkg/endpoint"}, "boot media know no Kubernetes; controllers implement their interfaces"},
	{"pkg/diskimage", []string{"pkg/bootmedia", "pkg/endpoint"},
		"disk images know no Kubernetes and no agent: they are bytes that others serve"},
	{"pkg/agent/protocol", nil, "what agent and manager say to each other belongs to neither"},
	{"pkg/agent/selection", []string{"pkg/agent/protocol", "pkg/serverid"}, "which disk is touched is decided purely"},
	{"pkg/agent/block", nil, "a disk knows nothing of what is written to it"},
	{"pkg/agent/fetch", nil, "a download knows nothing of what it is for"},
	{"pkg/agent/gpt", []string{"pkg/agent/block"}, "a partition table is of a disk, whatever the image"},
	{"pkg/agent/image", []string{"pkg/agent/block", "pkg/agent/gpt", "pkg/agent/protocol"}, "an image is a stream that becomes a disk"},
	{"pkg/agent/imagetest", nil, "images for tests share no code with what they judge"},
	{"pkg/agent/erase", []string{"pkg/agent/block", "pkg/agent/gpt", "pkg/agent/protocol", "pkg/agent/selection", "pkg/serverid"},
		"a disk is erased as the plan has it, by commands that are behind interfaces"},
	{"pkg/agent/filedisk", append([]string{"pkg/agent"}, agentParts...), "a model of a server knows what the agent asks of one"},
	{"pkg/agent/linux", append([]string{"pkg/agent"}, agentParts...), "the hands do what the agent asks, and decide nothing"},
	{"cmd/agent", append([]string{"pkg/agent", "pkg/agent/linux"}, agentParts...), "the program puts the agent together, and decides nothing"},
	{"pkg/agent", agentParts, "the agent runs alone on a server: it knows plans and disks, and nothing of clusters or BMCs"},
	{"pkg/agent/configdrive", []string{"pkg/agent/block", "pkg/agent/protocol"}, "configuration is files on a partition"},
	{"pkg/networkdata", []string{"api/v1beta1", "pkg/bootmedia", "pkg/endpoint"}, "network data are rendered from the host alone"},
	{"pkg/coordinator/bmcqueue", nil, "the gate knows operations, not what they are for"},
	{"pkg/config", []string{"pkg/endpoint"}, "settings are read from bytes and depend on nothing else"},
	{"pkg/config/internal/reference", []string{"pkg/config", "pkg/endpoint"}, "the page of settings is written from their table alone"},
	{"pkg/metrics/internal/reference", []string{"pkg/metrics", "pkg/coordinator/bmcqueue"}, "the page of metrics is written from their table alone"},
	{"pkg/metrics", []string{"pkg/coordinator/bmcqueue"}, "metrics satisfy observer interfaces; they drive nothing"},
	{"pkg/coordinator", []string{"api/v1beta1", "pkg/hostselection"}, "claims are made of hosts and machines, never of BMCs"},
	{"pkg/lease", []string{"api/v1beta1", "pkg/hostselection", "pkg/coordinator", "pkg/coordinator/bmcqueue"}, "a Lease says who may act, and knows nothing of what is done"},
	{"pkg/actuator", []string{"api/v1beta1", "pkg/provision", "pkg/redfish", "pkg/bootmedia", "pkg/coordinator/bmcqueue", "pkg/endpoint", "pkg/serverid"},
		"the actuator is the only glue of decisions and hardware"},
	{"pkg/cli", []string{"api/v1beta1", "pkg/config", "pkg/endpoint", "pkg/hostselection", "pkg/metrics", "pkg/scope"},
		"subcommands read and explain; they drive nothing"},
	{"pkg/daemon", []string{"pkg/coordinator/bmcqueue", "pkg/metrics"}, "the process tells of itself, and of nothing that it does"},
	{"pkg/scope", nil, "whose an object is, is asked by all, so it knows none of them"},
	{"controllers/media", []string{"api/v1beta1", "pkg/authority", "pkg/bootmedia", "pkg/endpoint", "pkg/networkdata", "pkg/scope"},
		"the media service knows grants and records, and nobody who brings hosts along"},
	{"controllers/settings", []string{"api/v1beta1", "pkg/config", "pkg/endpoint", "pkg/coordinator", "pkg/coordinator/bmcqueue", "pkg/hostselection"},
		"settings are handed to those who ask, and know nobody who acts on them"},
	{"controllers", []string{"api/v1beta1", "controllers/media", "controllers/settings", "pkg/actuator", "pkg/provision", "pkg/coordinator", "pkg/coordinator/bmcqueue",
		"pkg/hostselection", "pkg/bootmedia", "pkg/networkdata", "pkg/redfish", "pkg/authority", "pkg/config", "pkg/endpoint", "pkg/lease", "pkg/metrics", "pkg/scope", "pkg/serverid"},
		"controllers are wired by main and are no subcommands"},
	{"cmd/process", []string{"api/v1beta1", "controllers", "controllers/media", "controllers/settings", "pkg/actuator",
		"pkg/authority", "pkg/bootmedia", "pkg/cli", "pkg/config", "pkg/coordinator", "pkg/coordinator/bmcqueue", "pkg/daemon",
		"pkg/endpoint", "pkg/hostselection", "pkg/lease", "pkg/metrics", "pkg/networkdata", "pkg/provision", "pkg/redfish",
		"pkg/scope", "pkg/serverid"},
		"one process is wired from all that there is, and nobody is wired from it"},
	{"test/emulator", nil, "the witness shares no code with what it judges"},
	{"test/kubeadmhost", []string{"test/emulator"}, "a booted server knows only what the boot medium gave it"},
	{"test/controlplane", nil, "the control plane is any provider's: it runs what it is given"},
	{"test/crash/witness", nil, "the witness shares no code with what it judges, and knows objects as JSON"},
	{"test/house", nil, "the rules depend on nothing that they judge"},
}

// ban keeps an import out of the packages below its folders, or in no package but those.
type ban struct {
	imports []string // an import path, and everything below it
	folders []string
	// only turns the ban around: the imports are allowed nowhere but in the folders. It then holds in tests too.
	only bool
	// through forbids it through other packages of ours, too.
	through bool
	reason  string
}

var kubernetes = []string{"k8s.io/client-go", "k8s.io/api", "k8s.io/apimachinery", "k8s.io/apiserver",
	"sigs.k8s.io/controller-runtime", "sigs.k8s.io/cluster-api"}

var bans = []ban{
	{imports: []string{"github.com/stmcginnis/gofish"}, folders: []string{"pkg/redfish"}, only: true,
		reason: "one package owns the quirks of Redfish"},
	{imports: []string{"github.com/spf13/viper"}, folders: []string{"pkg/config"}, only: true,
		reason: "settings are typed once; nobody else looks up keys"},
	{imports: []string{"sigs.k8s.io/controller-runtime", "k8s.io/client-go", "k8s.io/klog", "k8s.io/utils/clock",
		"github.com/go-logr", "log", "context", "net", "os"},
		folders: []string{"pkg/provision", "pkg/hostselection", "pkg/serverid"}, through: true,
		reason: "pure packages have no client, no clock, no logger, no context"},
	{imports: []string{"sigs.k8s.io/controller-runtime", "k8s.io/client-go", "github.com/go-logr", "log", "context", "net", "os"},
		folders: []string{"pkg/agent/selection"},
		reason:  "which disk is touched is decided without a client, a logger or a file"},
	{imports: []string{"sigs.k8s.io/controller-runtime", "k8s.io/client-go", "github.com/go-logr", "log", "context", "os"},
		folders: []string{"pkg/networkdata"},
		reason:  "renderers have no client, no logger, no files; they may know addresses"},
	{imports: kubernetes,
		folders: []string{"pkg/redfish", "pkg/bootmedia", "pkg/coordinator/bmcqueue", "pkg/config", "pkg/endpoint", "pkg/metrics",
			"pkg/agent", "pkg/diskimage"}, through: true,
		reason: "these packages know no Kubernetes; controllers implement the small interfaces they ask for"},
}

// call bans a function of the standard library, or a method of testing.T, outside the folders.
type call struct {
	pkg   string // import path; empty for a method
	names []string
	// in restricts the ban to these folders; empty is everywhere.
	in []string
	// outside exempts these folders.
	outside []string
	// inTests says whether test files are judged too.
	inTests bool
	reason  string
}

var calls = []call{
	{pkg: "time", names: []string{"Sleep"}, outside: []string{"test/emulator"}, inTests: true,
		reason: "wait for what you wait for; only the emulator has physics. In a synctest bubble use a timer"},
	{pkg: "time", names: []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"},
		in: []string{"pkg/provision", "pkg/hostselection", "pkg/serverid", "pkg/agent/selection"}, reason: "time is an argument of pure code"},
	{names: []string{"Skip", "Skipf", "SkipNow"}, inTests: true, reason: "a test that does not run protects nothing"},
}
