package kubeadmhost

import (
	"errors"
	"fmt"
	"net"
	"path"
	"regexp"
	"strings"

	"sigs.k8s.io/cluster-api/bootstrap/kubeadm/pkg/types/upstreamv1beta4"
	"sigs.k8s.io/yaml"
)

const (
	kubeadmAPIVersion = "kubeadm.k8s.io/v1beta4"
	defaultAPIPort    = "6443"
)

// plan is what one kubeadm command would do on this server.
type plan struct {
	init         bool
	controlPlane bool
	// endpoint is host:port of the control plane.
	endpoint     string
	nodeName     string
	providerID   string
	version      string
	registration upstreamv1beta4.NodeRegistrationOptions
	kubeletArgs  map[string]string
	config       *upstreamv1beta4.ClusterConfiguration
	configYAML   []byte
	tokens       []upstreamv1beta4.BootstrapToken
	discovery    *upstreamv1beta4.BootstrapTokenDiscovery
	pki          *pki
	// sentinel is the path the command writes after success; may be empty.
	sentinel string
}

var (
	documentPattern = regexp.MustCompile(`(?m)^---[ \t]*$`)
	sentinelPattern = regexp.MustCompile(`&&.*>\s*([^\s'"]+)`)
)

// newPlan finds the one kubeadm command in runcmd and reads its configuration.
func newPlan(config *cloudConfig, meta *metadata) (*plan, error) {
	var found *plan
	for _, command := range config.commands {
		verb, args, ok := kubeadmCommand(command)
		if !ok {
			continue
		}
		if found != nil {
			return nil, errors.New("runcmd has more than one kubeadm init or join")
		}
		file, err := configFlag(args)
		if err != nil {
			return nil, fmt.Errorf("kubeadm %s: %w", verb, err)
		}
		content, ok := config.files[file]
		if !ok {
			return nil, fmt.Errorf("kubeadm %s: %s is not among write_files", verb, file)
		}
		found = &plan{init: verb == "init"}
		if err := found.read(content); err != nil {
			return nil, fmt.Errorf("kubeadm %s: %s: %w", verb, file, err)
		}
		if m := sentinelPattern.FindStringSubmatch(command); m != nil {
			found.sentinel = m[1]
		}
	}
	if found == nil {
		return nil, errors.New("runcmd has neither kubeadm init nor kubeadm join")
	}
	if err := found.complete(config, meta); err != nil {
		return nil, err
	}
	return found, nil
}

// kubeadmCommand finds "kubeadm init" or "kubeadm join" as the command of a
// shell line, and its arguments up to the next operator.
func kubeadmCommand(line string) (verb string, args []string, ok bool) {
	words := strings.Fields(line)
	for i := 0; i+1 < len(words); i++ {
		if path.Base(words[i]) != "kubeadm" || (words[i+1] != "init" && words[i+1] != "join") {
			continue
		}
		for _, word := range words[i+2:] {
			if word == "&&" || word == "||" || word == ";" || word == "|" {
				break
			}
			args = append(args, strings.Trim(word, `"';`))
		}
		return words[i+1], args, true
	}
	return "", nil, false
}

func configFlag(args []string) (string, error) {
	for i, arg := range args {
		if file, ok := strings.CutPrefix(arg, "--config="); ok {
			return file, nil
		}
		if arg == "--config" && i+1 < len(args) {
			return args[i+1], nil
		}
	}
	return "", errors.New("no --config given")
}

// read parses the YAML documents of the configuration file, strictly.
func (p *plan) read(content []byte) error {
	kinds := map[string]bool{}
	for _, document := range documentPattern.Split(string(content), -1) {
		if strings.TrimSpace(document) == "" {
			continue
		}
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
		}
		if err := yaml.Unmarshal([]byte(document), &head); err != nil {
			return fmt.Errorf("not valid YAML%s", yamlPosition(err))
		}
		if kinds[head.Kind] {
			return fmt.Errorf("more than one %s", head.Kind)
		}
		kinds[head.Kind] = true
		if err := p.readDocument(head.APIVersion, head.Kind, []byte(document)); err != nil {
			return fmt.Errorf("%s: %w", head.Kind, err)
		}
	}
	switch {
	case p.init && !kinds["ClusterConfiguration"]:
		return errors.New("no ClusterConfiguration")
	case p.init && !kinds["InitConfiguration"]:
		return errors.New("no InitConfiguration")
	case p.init && kinds["JoinConfiguration"], !p.init && (kinds["InitConfiguration"] || kinds["ClusterConfiguration"]):
		return errors.New("configuration of both init and join")
	case !p.init && !kinds["JoinConfiguration"]:
		return errors.New("no JoinConfiguration")
	}
	return nil
}

func (p *plan) readDocument(apiVersion, kind string, document []byte) error {
	switch kind {
	case "KubeletConfiguration", "KubeProxyConfiguration":
		return nil
	case "ClusterConfiguration", "InitConfiguration", "JoinConfiguration":
	default:
		return fmt.Errorf("unknown kind %q", kind)
	}
	if apiVersion != kubeadmAPIVersion {
		return fmt.Errorf("apiVersion is %q, want %s", apiVersion, kubeadmAPIVersion)
	}
	switch kind {
	case "ClusterConfiguration":
		p.config, p.configYAML = &upstreamv1beta4.ClusterConfiguration{}, document
		return unmarshalStrict(document, p.config)
	case "InitConfiguration":
		var init upstreamv1beta4.InitConfiguration
		if err := unmarshalStrict(document, &init); err != nil {
			return err
		}
		p.registration, p.tokens, p.controlPlane = init.NodeRegistration, init.BootstrapTokens, true
		return nil
	default:
		var join upstreamv1beta4.JoinConfiguration
		if err := unmarshalStrict(document, &join); err != nil {
			return err
		}
		p.registration, p.discovery, p.controlPlane = join.NodeRegistration, join.Discovery.BootstrapToken, join.ControlPlane != nil
		if p.discovery == nil {
			return errors.New("only discovery with a bootstrap token is supported")
		}
		return nil
	}
}

// unmarshalStrict keeps the parser's message only where it cannot quote values:
// a join configuration holds a token.
func unmarshalStrict(document []byte, into any) error {
	err := yaml.UnmarshalStrict(document, into)
	if err == nil {
		return nil
	}
	if strings.Contains(err.Error(), "unknown field") {
		return fmt.Errorf("%s", err.Error()[strings.Index(err.Error(), "unknown field"):])
	}
	return fmt.Errorf("does not have the shape of its kind%s", yamlPosition(err))
}

// complete fills what follows from several parts of the data and checks it.
func (p *plan) complete(config *cloudConfig, meta *metadata) error {
	p.nodeName = p.registration.Name
	if p.nodeName == "" {
		p.nodeName = meta.hostname
	}
	p.kubeletArgs = map[string]string{}
	for _, arg := range p.registration.KubeletExtraArgs {
		p.kubeletArgs[arg.Name] = arg.Value
	}
	p.providerID = p.kubeletArgs["provider-id"]
	address := ""
	if p.init {
		address, p.version = p.config.ControlPlaneEndpoint, p.config.KubernetesVersion
		if p.config.Etcd.External != nil {
			return errors.New("kubeadm init: external etcd is not supported")
		}
	} else {
		address = p.discovery.APIServerEndpoint
		if len(p.discovery.CACertHashes) == 0 && !p.discovery.UnsafeSkipCAVerification {
			return errors.New("kubeadm join: neither caCertHashes nor unsafeSkipCAVerification is set")
		}
		if !tokenPattern.MatchString(p.discovery.Token) {
			return errors.New("kubeadm join: the bootstrap token does not have the form id.secret")
		}
	}
	var err error
	if p.endpoint, err = loopbackEndpoint(address); err != nil {
		return err
	}
	if p.controlPlane {
		p.pki, err = loadPKI(config.files)
	}
	return err
}

// loopbackEndpoint completes the port, and refuses what is not on this machine.
func loopbackEndpoint(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), defaultAPIPort
	}
	if host == "" {
		return "", errors.New("no control plane endpoint in the kubeadm configuration")
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", fmt.Errorf("control plane endpoint %s is not a loopback address", address)
	}
	return net.JoinHostPort(host, port), nil
}
