package kubeadmhost

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// cloudConfig is what the user data and vendor data ask a server to do.
type cloudConfig struct {
	files     map[string][]byte
	commands  []string
	phoneHome *phoneHome
	// ignored are the modules asked for that are not played.
	ignored []string
}

type writeFile struct {
	Path        string `json:"path"`
	Content     string `json:"content"`
	Owner       string `json:"owner"`
	Permissions any    `json:"permissions"`
	Encoding    string `json:"encoding"`
	Append      bool   `json:"append"`
	Defer       bool   `json:"defer"`
}

// knownModules are top-level keys of cloud-config that a real system would act
// on. Anything else is a mistake in what was delivered.
var knownModules = []string{
	"apt", "bootcmd", "ca_certs", "chpasswd", "disk_setup", "final_message", "fqdn", "fs_setup", "growpart", "hostname",
	"locale", "manage_etc_hosts", "merge_how", "mounts", "network", "ntp", "output", "package_update", "package_upgrade", "packages",
	"password", "power_state", "prefer_fqdn_over_hostname", "preserve_hostname", "resize_rootfs", "runcmd", "snap", "ssh_authorized_keys",
	"ssh_pwauth", "swap", "timezone", "users", "groups", "vendor_data", "write_files", "phone_home", "bootstrap",
}

// played are the modules that this package plays.
var played = []string{"write_files", "runcmd", "phone_home", "hostname", "fqdn", "preserve_hostname"}

// parseCloudConfig reads user data (cloud-config, possibly a template) over
// vendor data (cloud-config, or a script that runs besides). Keys of the user
// data win as a whole, which is how cloud-init merges vendor data.
func parseCloudConfig(s *seed, meta *metadata) (*cloudConfig, error) {
	modules := map[string]any{}
	script := ""
	if bytes.HasPrefix(s.VendorData, []byte("#!")) {
		script = string(s.VendorData)
	} else if len(bytes.TrimSpace(s.VendorData)) > 0 {
		vendor, err := parseModules(s.VendorData, meta)
		if err != nil {
			return nil, fmt.Errorf("vendor-data: %w", err)
		}
		modules = vendor
	}
	user, err := parseModules(s.UserData, meta)
	if err != nil {
		return nil, fmt.Errorf("user-data: %w", err)
	}
	for key, value := range user {
		modules[key] = value
	}
	config := &cloudConfig{files: map[string][]byte{}}
	for key := range modules {
		if !slices.Contains(knownModules, key) {
			return nil, fmt.Errorf("cloud-config has an unknown key %q", key)
		}
		if !slices.Contains(played, key) {
			config.ignored = append(config.ignored, key)
		}
	}
	slices.Sort(config.ignored)
	if err := config.writeFiles(modules["write_files"]); err != nil {
		return nil, err
	}
	if config.commands, err = commandList("runcmd", modules["runcmd"]); err != nil {
		return nil, err
	}
	config.phoneHome, err = parsePhoneHome(modules["phone_home"])
	if err != nil || config.phoneHome != nil {
		return config, err
	}
	commands, err := commandList("bootcmd", modules["bootcmd"])
	if err != nil {
		return nil, err
	}
	config.phoneHome, err = findWatcher(strings.Join(append(commands, script), "\n"))
	return config, err
}

func parseModules(data []byte, meta *metadata) (map[string]any, error) {
	text := string(data)
	if rest, ok := strings.CutPrefix(text, templateHeader); ok {
		// Only the first line says that it is a template; the rest is rendered.
		_, body, ok := strings.Cut(rest, "\n")
		if !ok {
			return nil, errors.New("nothing follows the template header")
		}
		var err error
		if text, err = render(body, meta); err != nil {
			return nil, err
		}
	}
	if first, _, _ := strings.Cut(text, "\n"); strings.TrimRight(first, " \t\r") != "#cloud-config" {
		return nil, fmt.Errorf("the first line is not #cloud-config (%d bytes in all)", len(data))
	}
	modules := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(text), &modules); err != nil {
		// The parser quotes what it read, which may be a key or a token.
		return nil, fmt.Errorf("not valid YAML%s", yamlPosition(err))
	}
	return modules, nil
}

// yamlPosition keeps the line of a parser's message and drops its quotes.
func yamlPosition(err error) string {
	text := err.Error()
	at := strings.Index(text, "line ")
	if at < 0 {
		return ""
	}
	number := text[at+len("line "):]
	end := strings.IndexFunc(number, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(number)
	}
	return " near line " + number[:end]
}

// decodeStrict turns an already parsed value into a typed one and refuses fields
// that the type does not have.
func decodeStrict(value, into any) error {
	blob, err := json.Marshal(value)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(blob))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

func (c *cloudConfig) writeFiles(value any) error {
	if value == nil {
		return nil
	}
	var entries []writeFile
	if err := decodeStrict(value, &entries); err != nil {
		return fmt.Errorf("write_files: %w", err)
	}
	for i, entry := range entries {
		if !strings.HasPrefix(entry.Path, "/") {
			return fmt.Errorf("write_files entry %d: path %q is not absolute", i, entry.Path)
		}
		if err := checkPermissions(entry.Permissions); err != nil {
			return fmt.Errorf("write_files %s: %w", entry.Path, err)
		}
		content, err := decodeContent(entry.Content, entry.Encoding)
		if err != nil {
			return fmt.Errorf("write_files %s: %w", entry.Path, err)
		}
		if entry.Append {
			content = append(slices.Clone(c.files[entry.Path]), content...)
		}
		c.files[entry.Path] = content
	}
	return nil
}

func checkPermissions(value any) error {
	switch v := value.(type) {
	case nil, float64:
		return nil
	case string:
		if mode, err := strconv.ParseUint(v, 8, 32); err != nil || mode > 0o7777 {
			return fmt.Errorf("permissions %q are not octal", v)
		}
		return nil
	default:
		return errors.New("permissions are neither text nor number")
	}
}

func decodeContent(content, encoding string) ([]byte, error) {
	data := []byte(content)
	zipped, coded := false, false
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "text/plain":
	case "b64", "base64":
		coded = true
	case "gz", "gzip":
		zipped = true
	case "gz+b64", "gz+base64", "gzip+b64", "gzip+base64":
		zipped, coded = true, true
	default:
		return nil, fmt.Errorf("unknown encoding %q", encoding)
	}
	if coded {
		var err error
		// YAML block text carries line ends that base64 tolerates.
		if data, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(content), "")); err != nil {
			return nil, fmt.Errorf("content is not base64: %w", err)
		}
	}
	if !zipped {
		return data, nil
	}
	reader, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("content is not gzip: %w", err)
	}
	data, err = io.ReadAll(io.LimitReader(reader, maxFileBytes))
	if err != nil {
		return nil, fmt.Errorf("content is not gzip: %w", err)
	}
	return data, nil
}

// commandList reads a list of shell lines and argument lists.
func commandList(module string, value any) ([]string, error) {
	if value == nil {
		return nil, nil
	}
	entries, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("%s is not a list", module)
	}
	var commands []string
	for i, entry := range entries {
		switch command := entry.(type) {
		case nil:
		case string:
			commands = append(commands, command)
		case []any:
			words := make([]string, 0, len(command))
			for _, word := range command {
				words = append(words, fmt.Sprint(word))
			}
			commands = append(commands, strings.Join(words, " "))
		default:
			return nil, fmt.Errorf("%s entry %d is neither text nor a list", module, i)
		}
	}
	return commands, nil
}
