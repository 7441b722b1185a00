package config

import "time"

// Settings are the effective values of all settings. It is a plain value: copies share nothing.
type Settings struct {
	Provisioning     Provisioning
	HostSelection    HostSelection
	BMC              BMC
	Reconcile        Reconcile
	LeaderElection   LeaderElection
	ClaimCoordinator ClaimCoordinator
	KubeAPI          KubeAPI
	Metrics          Metrics
	Log              Log
	Media            Media
	Addresses        Addresses
	Webhook          Webhook
	TLS              TLS
	Scope            Scope
	Pod              Pod
	// Chosen are the global values of what can be tuned for each BMC, where a source set them: they come before a vendor table.
	Chosen Tuning
	// Vendors are the values of vendors.<name>.*, in the order of VendorNames; see For.
	Vendors [vendorCount]Tuning
}

// Provisioning shapes the gate to all BMCs. All of it is live.
type Provisioning struct {
	// MaxConcurrentOps is the most BMC operations in flight in all.
	MaxConcurrentOps int
	// MaxQueueSize is the most requested operations that wait.
	MaxQueueSize int
	// OperationTimeout bounds one operation.
	OperationTimeout time.Duration
	// BMCCooldownPeriod is the quiet time between two changing operations on one BMC.
	BMCCooldownPeriod time.Duration
	// WorkerCount is the number of goroutines that run operations; it also caps what is in flight.
	WorkerCount int
	// RetryAttempts is how often the gate tries an operation before it hands it back.
	RetryAttempts int
	// ExponentialBackoff makes waits between tries grow.
	ExponentialBackoff bool
	// MaxRetryDelay caps those waits.
	MaxRetryDelay time.Duration
	// MaxBoots is how many boots in a row, without a sign of life, a claim may have.
	MaxBoots int
}

// HostSelection shapes the choice of hosts. All of it is live.
type HostSelection struct {
	// Algorithm is deterministic, round-robin or priority.
	Algorithm string
	// RetryLimit is how many further hosts are tried after a lost race.
	RetryLimit int
	// BackoffMultiplier and MaxBackoffDelay shape the wait after a contended claim.
	BackoffMultiplier float64
	MaxBackoffDelay   time.Duration
}

// BMC shapes connections to BMCs. All of it is live.
type BMC struct {
	// ConnectionTimeout bounds TCP and TLS set-up.
	ConnectionTimeout time.Duration
	// RequestTimeout bounds one HTTP request.
	RequestTimeout time.Duration
	// MaxRetries repeats idempotent requests.
	MaxRetries int
	// RetryDelay between such repeats.
	RetryDelay time.Duration
}

// Reconcile shapes the controllers.
type Reconcile struct {
	// SyncPeriod is how often every object is looked at again although nothing changed. Live.
	SyncPeriod time.Duration
	// Timeout bounds one reconcile. Live.
	Timeout time.Duration
	// MaxConcurrentReconciles of each controller. Needs a restart.
	MaxConcurrentReconciles int
}

// LeaderElection is that of the manager. All of it needs a restart.
type LeaderElection struct {
	Enabled       bool
	LeaseDuration time.Duration
	RenewDeadline time.Duration
	RetryPeriod   time.Duration
	// Namespace of the Leases; empty means the Pod's own.
	Namespace string
}

// ClaimCoordinator is the claim-leader mode. All of it needs a restart.
type ClaimCoordinator struct {
	Enabled       bool
	LeaseDuration time.Duration
	RenewDeadline time.Duration
	RetryPeriod   time.Duration
}

// KubeAPI limits requests to the management cluster. It needs a restart.
type KubeAPI struct {
	QPS, Burst int
}

// Metrics are the diagnostic endpoints.
type Metrics struct {
	// Interval of the pass that sets fleet gauges. Live.
	Interval time.Duration
	// BindAddress of plain metrics, without authentication; when it is empty, DiagnosticsAddress counts. ProbeAddress is that of
	// /healthz and /readyz. "0" turns an endpoint off. See Endpoint.
	BindAddress, DiagnosticsAddress, ProbeAddress string
	// InsecureDiagnostics serves DiagnosticsAddress over http, to everybody.
	InsecureDiagnostics bool
	// EnableProfiling serves pprof on ProfilingAddress.
	EnableProfiling  bool
	ProfilingAddress string
}

// Endpoint is where metrics are served, and whether over https to those only whom the API server knows and lets read them.
func (m Metrics) Endpoint() (address string, secure bool) {
	if m.BindAddress != "" {
		return m.BindAddress, false
	}
	return m.DiagnosticsAddress, !m.InsecureDiagnostics
}

// Log shapes the log.
type Log struct {
	// Level is debug, info, warn or error. Live.
	Level string
	// StacktraceLevel is the least level that carries a stack trace: debug, info, warn, error or none.
	StacktraceLevel string
	// Format is json or console.
	Format string
	// TimeEncoding is iso8601, rfc3339, rfc3339nano, epoch, millis or nanos.
	TimeEncoding string
}

// Media shapes the boot media server. It needs a restart.
type Media struct {
	BindAddress string
	// AdvertiseURL is the base URL that BMCs are given; PhoneHomeAdvertiseURL that of booted systems. Empty means to derive it
	// from the Pod's address.
	AdvertiseURL, PhoneHomeAdvertiseURL string
	// CertDir holds tls.crt, tls.key and ca.crt; empty means CASecret.
	CertDir string
	// CASecret names the Secret with the authority that the serving certificate is issued from; empty, as CertDir, means plain http.
	CASecret string
	// ImageCADir holds the authorities of private image servers.
	ImageCADir string
	// CacheDir holds verified images.
	CacheDir string
	// CacheSize bounds them, in MiB.
	CacheSize int
}

// Addresses limit where BMCs and image servers may be. They need a restart.
type Addresses struct {
	// Allow and Deny are ranges separated by commas. See Networks.
	Allow, Deny string
}

// Webhook shapes the admission server. It needs a restart.
type Webhook struct {
	Port int
	// CertDir holds tls.crt and tls.key; empty means that no webhooks are served.
	CertDir string
}

// TLS is what the webhook, media and diagnostics servers accept. It needs a restart.
type TLS struct {
	// MinVersion is VersionTLS12 or VersionTLS13.
	MinVersion string
	// CipherSuites are names separated by commas; empty means Go's choice. Without meaning for TLS 1.3.
	CipherSuites string
}

// Scope limits what this manager looks at, and says where its settings come from. It needs a restart.
type Scope struct {
	// Namespace to watch; empty means all.
	Namespace string
	// WatchFilter is the value of the label cluster.x-k8s.io/watch-filter that objects must have; empty means all objects.
	WatchFilter string
	// ConfigFile is the settings file.
	ConfigFile string
	// ConfigMaps are the names of the ConfigMaps of settings, separated by commas; later ones win. See ConfigMapNames.
	ConfigMaps string
}

// ConfigMapNames are the names of the ConfigMaps of settings, weakest first, each once.
func (s Scope) ConfigMapNames() []string { return splitList(s.ConfigMaps) }

// Pod is what the Deployment tells the process about itself through its environment; each may be empty.
type Pod struct {
	Name, Namespace, IP, Node string
}

// DefaultNamespace is where the manager is installed unless its Pod says otherwise.
const DefaultNamespace = "beskar7-system"

// NamespaceOrDefault is where the manager, its Leases and its ConfigMaps are.
func (p Pod) NamespaceOrDefault() string {
	if p.Namespace != "" {
		return p.Namespace
	}
	return DefaultNamespace
}

// Findings are everything that Load noticed.
type Findings struct {
	// Errors make the settings unusable; with any, Load's Settings are the defaults.
	Errors []Finding `json:"errors,omitempty"`
	// Warnings never do: relations that look wrong, unknown keys, values that are shadowed.
	Warnings []Finding `json:"warnings,omitempty"`
}

// Finding is one error or warning about one setting.
type Finding struct {
	// Key of the setting, such as bmc.maxRetries, or the unknown key as written.
	Key string `json:"key"`
	// Origin of the value; empty for a relation of several.
	Origin
	// Message for a person. It holds the value: settings hold no secrets.
	Message string `json:"message"`
}

// String is one line: "bmc.maxRetries (configmap beskar7-config): 11 is outside the range 1 to 10".
func (f Finding) String() string {
	if f.Source == "" {
		return f.Key + ": " + f.Message
	}
	return f.Key + " (" + f.Origin.String() + "): " + f.Message
}

// Origin is where a value came from.
type Origin struct {
	Source Source `json:"source,omitempty"`
	// Name of the ConfigMap; empty for the other sources, of which there is one.
	Name string `json:"name,omitempty"`
}

// String is "configmap beskar7-config", or just the source.
func (o Origin) String() string {
	if o.Name == "" {
		return string(o.Source)
	}
	return string(o.Source) + " " + o.Name
}

// Source is a kind of place where values come from.
type Source string

const (
	// SourceDefault is the table of settings.
	SourceDefault Source = "default"
	// SourceFile is the file of --config.
	SourceFile Source = "file"
	// SourceConfigMap is one of the ConfigMaps of settings.
	SourceConfigMap Source = "configmap"
	// SourceEnvironment is a BESKAR7_ variable.
	SourceEnvironment Source = "environment"
	// SourceFlag is the command line.
	SourceFlag Source = "flag"
)
