package cli

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/beskar7/beskar7/pkg/endpoint"
)

// row is one host to register, as a file says it. Password is never printed.
type row struct {
	line   int
	values map[string]string
	labels map[string]string
}

// columns are what a row can say; of those that are text the rule that it must obey, which never quotes it.
var columns = map[string]func(string) error{
	"name": oneOf(validation.IsDNS1123Subdomain), "namespace": oneOf(validation.IsDNS1123Label), "address": checkBMCAddress,
	"username": nil, "password": nil, "credentialsSecret": oneOf(validation.IsDNS1123Subdomain), "caBundleSecret": oneOf(validation.IsDNS1123Subdomain),
	"certificateFingerprint": matches(regexp.MustCompile(`^([0-9a-fA-F]{2}:?){31}[0-9a-fA-F]{2}$`), "it is not a SHA-256 sum in hex"),
	"insecureSkipVerify":     checkBool, "systemID": nil, "vendor": nil, "failureDomain": nil, "priority": checkPriority,
	"consentToErase": checkBool, "maintenance": checkBool, "allowPlainMedia": checkBool, "allowPlainHTTP": checkBool, "labels": nil,
}

func oneOf(check func(string) []string) func(string) error {
	return func(text string) error {
		if problems := check(text); len(problems) > 0 {
			return errors.New(problems[0])
		}
		return nil
	}
}

func matches(pattern *regexp.Regexp, otherwise string) func(string) error {
	return func(text string) error {
		if !pattern.MatchString(text) {
			return errors.New(otherwise)
		}
		return nil
	}
}

func checkBool(text string) error {
	if _, err := strconv.ParseBool(text); err != nil {
		return errors.New("it is not true or false")
	}
	return nil
}

func checkPriority(text string) error {
	if n, err := strconv.Atoi(text); err != nil || n < -1000 || n > 1000 {
		return errors.New("it is not a number from -1000 to 1000")
	}
	return nil
}

// checkBMCAddress does not quote what it refuses: a mistyped address can hold a password.
func checkBMCAddress(text string) error {
	u, err := endpoint.Parse(text)
	if err != nil || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("it is not an address such as https://10.0.0.5 or https://[fd00::5]:8443")
	}
	return nil
}

// problem is something wrong in a line.
type problem struct {
	line    int
	message string
}

// readRows reads CSV, by the name of the file, or YAML: a list of hosts, or one below the key hosts.
func readRows(name string, file []byte) ([]row, []problem) {
	if strings.HasSuffix(strings.ToLower(name), ".csv") {
		return readCSV(file)
	}
	return readYAML(file)
}

func readCSV(file []byte) ([]row, []problem) {
	reader := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(file), "\ufeff")))
	reader.Comment, reader.TrimLeadingSpace, reader.FieldsPerRecord = '#', true, -1
	header, err := reader.Read()
	if err != nil {
		return nil, []problem{{1, "there is no header line with the names of the columns"}}
	}
	line, _ := reader.FieldPos(0)
	if !slices.ContainsFunc(header, func(column string) bool { return canonical(strings.TrimSpace(column)) != "" }) {
		// It is not quoted: without a header the first line is a host, with its password.
		return nil, []problem{{line, "the first line does not name the columns, such as name,address,username,password"}}
	}
	var problems []problem
	for i, column := range header {
		header[i] = canonical(strings.TrimSpace(column))
		if header[i] == "" {
			problems = append(problems, problem{line, fmt.Sprintf("there is no column %q", column)})
		} else if slices.Contains(header[:i], header[i]) {
			problems = append(problems, problem{line, fmt.Sprintf("column %s is there twice", header[i])})
		}
	}
	var rows []row
	for {
		record, err := reader.Read()
		var broken *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return rows, problems
		case errors.As(err, &broken):
			return rows, append(problems, problem{broken.Line, "no CSV: " + broken.Err.Error()})
		case err != nil:
			return rows, append(problems, problem{0, "no CSV"})
		}
		line, _ := reader.FieldPos(0)
		if len(record) != len(header) {
			problems = append(problems, problem{line, fmt.Sprintf("it has %d columns, the header has %d", len(record), len(header))})
			continue
		}
		r := row{line: line, values: map[string]string{}, labels: map[string]string{}}
		for i, value := range record {
			if value = strings.TrimSpace(value); value != "" {
				r.values[header[i]] = value
			}
		}
		problems = append(problems, r.splitLabels()...)
		rows = append(rows, r)
	}
}

// canonical is a column as columns spell it; empty if there is none.
func canonical(name string) string {
	for column := range columns {
		if strings.EqualFold(column, name) {
			return column
		}
	}
	return ""
}

// splitLabels reads "rack=1;role=worker".
func (r *row) splitLabels() []problem {
	for pair := range strings.SplitSeq(r.values["labels"], ";") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		key, value, found := strings.Cut(pair, "=")
		if !found {
			return []problem{{r.line, "labels: they are written as key=value;key=value"}}
		}
		r.labels[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return nil
}

func readYAML(file []byte) (rows []row, problems []problem) {
	decoder, empty := yaml.NewDecoder(bytes.NewReader(file)), true
	for {
		var root yaml.Node
		err := decoder.Decode(&root)
		switch {
		case errors.Is(err, io.EOF) && empty:
			return rows, append(problems, problem{1, "there is nothing in it"})
		case errors.Is(err, io.EOF):
			return rows, problems
		case err != nil:
			return rows, append(problems, problem{lineOf(err.Error()), "no YAML"})
		case len(root.Content) == 0:
			continue
		}
		empty = false
		list := resolve(root.Content[0])
		if hosts := child(list, "hosts"); hosts != nil {
			list = hosts
		}
		if list.Kind != yaml.SequenceNode {
			problems = append(problems, problem{list.Line, "there is no list of hosts"})
			continue
		}
		for _, item := range list.Content {
			r, wrong := rowOf(item)
			rows, problems = append(rows, r), append(problems, wrong...)
		}
	}
}

// rowOf reads one host of a YAML file.
func rowOf(item *yaml.Node) (r row, problems []problem) {
	r = row{line: item.Line, values: map[string]string{}, labels: map[string]string{}}
	fail := func(at *yaml.Node, format string, args ...any) {
		problems = append(problems, problem{at.Line, fmt.Sprintf(format, args...)})
	}
	seen := map[string]bool{}
	pairs(item, func(key, value *yaml.Node) {
		column := canonical(key.Value)
		twice := seen[column]
		seen[column] = true
		switch {
		case column == "":
			fail(key, "there is no key %q", key.Value)
		case twice:
			fail(key, "%s is there twice", column)
		case column == "labels" && value.Kind == yaml.MappingNode:
			pairs(value, func(k, v *yaml.Node) {
				if k.Kind != yaml.ScalarNode || v.Kind != yaml.ScalarNode {
					fail(k, "labels: each is a key with a single value")
				}
				r.labels[k.Value] = text(v)
			})
		case value.Kind != yaml.ScalarNode:
			fail(key, "%s: it is not a single value", key.Value)
		case value.ShortTag() != "!!null" && value.Value != "":
			r.values[column] = value.Value
		}
	})
	return r, append(problems, r.splitLabels()...)
}

// checkRows says everything that is wrong with the rows, each and all together, without a value of theirs that may be secret.
func checkRows(rows []row) []problem {
	var problems []problem
	names, servers := map[string]int{}, map[string]int{}
	for _, r := range rows {
		problems = append(problems, r.check()...)
		name := r.values["namespace"] + "/" + r.values["name"]
		if first, twice := names[name]; twice {
			problems = append(problems, problem{r.line, fmt.Sprintf("host %s is in line %d too", r.values["name"], first)})
		}
		server := strings.ToLower(strings.TrimRight(r.values["address"], "/")) + " " + r.values["systemID"]
		if first, twice := servers[server]; twice && r.values["address"] != "" {
			problems = append(problems, problem{r.line, fmt.Sprintf("the server at this address is in line %d too: tell several systems of one BMC apart by systemID", first)})
		}
		names[name], servers[server] = r.line, r.line
	}
	return problems
}

// check says what is wrong with one row by itself.
func (r row) check() []problem {
	var problems []problem
	fail := func(format string, args ...any) {
		problems = append(problems, problem{r.line, fmt.Sprintf(format, args...)})
	}
	for _, column := range []string{"name", "address"} {
		if r.values[column] == "" {
			fail("%s is missing", column)
		}
	}
	for _, column := range sortedKeys(r.values) {
		if check := columns[column]; check != nil {
			if err := check(r.values[column]); err != nil {
				fail("%s: %v", column, err)
			}
		}
	}
	own, shared := r.values["username"] != "" && r.values["password"] != "", r.values["credentialsSecret"] != ""
	switch {
	case shared && (r.values["username"] != "" || r.values["password"] != ""):
		fail("give either username and password, or credentialsSecret")
	case !own && !shared:
		fail("username and password are missing; or name a Secret that has them in credentialsSecret")
	}
	if ok, _ := strconv.ParseBool(r.values["insecureSkipVerify"]); ok && (r.values["certificateFingerprint"] != "" || r.values["caBundleSecret"] != "") {
		fail("insecureSkipVerify contradicts certificateFingerprint and caBundleSecret")
	}
	for _, key := range sortedKeys(r.labels) {
		if len(validation.IsQualifiedName(key)) > 0 || len(validation.IsValidLabelValue(r.labels[key])) > 0 {
			fail("label %q is not one that Kubernetes allows", key)
		}
	}
	return problems
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
