package config

import (
	"testing"
	"time"
)

// Host, vendor key, global key that was set, vendor table, default: the first that is set counts, for each value by itself.
func TestTheOrderOfTunings(t *testing.T) {
	table := Tuning{Cooldown: 4 * time.Second, RequestTimeout: 50 * time.Second, MaxRetries: 6, MaxConcurrentOps: 3}
	host := Tuning{Cooldown: time.Second, MaxConcurrentOps: 9}
	vendor := map[string]string{"vendors.dell.provisioning.bmcCooldownPeriod": "2s", "vendors.dell.bmc.requestTimeout": "20s"}
	global := map[string]string{"provisioning.bmcCooldownPeriod": "3s", "bmc.requestTimeout": "30s", "bmc.maxRetries": "5"}
	steps := []struct {
		name       string
		configMaps []ConfigMap
		env        []string
		vendor     string
		host, want Tuning
	}{
		{"host", []ConfigMap{{"a", vendor}, {"b", global}}, nil, "Dell Inc.", host, Tuning{Cooldown: time.Second, RequestTimeout: 20 * time.Second, MaxRetries: 5}},
		{"vendor", []ConfigMap{{"a", vendor}, {"b", global}}, nil, "dell", Tuning{}, Tuning{Cooldown: 2 * time.Second, RequestTimeout: 20 * time.Second, MaxRetries: 5}},
		{"global", []ConfigMap{{"b", global}}, nil, "dell", Tuning{}, Tuning{Cooldown: 3 * time.Second, RequestTimeout: 30 * time.Second, MaxRetries: 5}},
		{"global from the environment, though it is the default", nil, []string{"BESKAR7_PROVISIONING_BMC_COOLDOWN_PERIOD=10s"}, "dell", Tuning{},
			Tuning{Cooldown: 10 * time.Second, RequestTimeout: 50 * time.Second, MaxRetries: 6}},
		{"of another vendor", []ConfigMap{{"a", vendor}}, nil, "hpe", Tuning{}, Tuning{Cooldown: 4 * time.Second, RequestTimeout: 50 * time.Second, MaxRetries: 6}},
		{"table", nil, nil, "dell", Tuning{}, Tuning{Cooldown: 4 * time.Second, RequestTimeout: 50 * time.Second, MaxRetries: 6}},
	}
	for _, step := range steps {
		settings, findings := Load(Sources{ConfigMaps: step.configMaps, Env: step.env})
		if len(findings.Errors) > 0 {
			t.Fatal(findings.Errors)
		}
		got := settings.For(step.vendor, step.host, table)
		// Nobody said anything of these, and a host has no part of the fleet's operations.
		step.want.OperationTimeout, step.want.ConnectionTimeout, step.want.RetryDelay, step.want.MaxConcurrentOps = 5*time.Minute, 30*time.Second, 5*time.Second, 3
		if got != step.want {
			t.Errorf("%s: %+v, want %+v", step.name, got, step.want)
		}
	}
	if got, want := Defaults().For("", Tuning{}, Tuning{}), (Tuning{Cooldown: 10 * time.Second, OperationTimeout: 5 * time.Minute,
		ConnectionTimeout: 30 * time.Second, RequestTimeout: time.Minute, MaxRetries: 3, RetryDelay: 5 * time.Second}); got != want {
		t.Errorf("defaults %+v, want %+v", got, want)
	}
}

func TestVendorsByTheirNames(t *testing.T) {
	for said, want := range map[string]string{
		"dell": "dell", "Dell Inc.": "dell", "dell-idrac9": "dell", "iDRAC 8": "dell", "HPE": "hpe", "hpe-ilo": "hpe", "iLO5": "hpe", "HP": "hpe",
		"Hewlett Packard Enterprise": "hpe", "Supermicro": "supermicro", "Lenovo XCC2": "lenovo", "XCC": "lenovo", "American Megatrends International": "ami",
		"ASRockRack": "ami", "": "", "hparc": "", "acme": "", "generic": "generic", "FUJITSU": "fujitsu", "Cisco Systems Inc.": "cisco", "OpenBMC": "openbmc",
	} {
		if got := VendorOf(said); got != want {
			t.Errorf("%q is %q, want %q", said, got, want)
		}
	}
}

func TestPartsOfVendors(t *testing.T) {
	if caps := Defaults().GroupCaps(); caps != nil {
		t.Fatalf("parts %v of nobody", caps)
	}
	settings, findings := Load(Sources{ConfigMaps: data(map[string]string{"vendors.dell.provisioning.maxConcurrentOps": "2", "vendors.nvidia.provisioning.maxConcurrentOps": "6",
		"vendors.hpe.bmc.requestTimeout": "300s", "vendors.hpe.provisioning.operationTimeout": "1m", "vendors.del.bmc.maxRetries": "3", "vendors.ami.bmc.maxRetries": "3"})})
	compare(t, "errors", findings.Errors, nil)
	compare(t, "warnings", findings.Warnings, []string{
		"vendors.del.bmc.maxRetries: there is no such setting; did you mean vendors.dell.bmc.maxRetries?",
		"vendors.hpe.provisioning.operationTimeout: 1m0s ends an operation before",
		"vendors.nvidia.provisioning.maxConcurrentOps: 6 is never reached",
	})
	if caps := settings.GroupCaps(); len(caps) != 2 || caps["dell"] != 2 || caps["nvidia"] != 6 {
		t.Fatalf("parts %v", caps)
	}
	if quiet := settings.QuietTime(); quiet != 5*time.Minute {
		t.Errorf("quiet for %v, want the longest request timeout of any vendor", quiet)
	}
}

func TestConfigMapNames(t *testing.T) {
	for want, args := range map[string][]string{
		"beskar7-config": nil,
		"beskar7-config-dell-idrac,beskar7-config": {"--config-map=beskar7-config-dell-idrac", "--config-map=beskar7-config"},
		"b,a": {"--config-map=a,b", "--config-map=a"},
	} {
		settings, findings := Load(Sources{Flags: parsed(t, args...)})
		got := ""
		for i, name := range settings.Scope.ConfigMapNames() {
			if i > 0 {
				got += ","
			}
			got += name
		}
		if got != want || len(findings.Errors) > 0 {
			t.Errorf("%v: %q, want %q (%v)", args, got, want, findings.Errors)
		}
	}
	_, findings := Load(Sources{Flags: parsed(t, "--config-map=Not_A_Name", "--tls-cipher-suites=TLS_NULL"), ConfigMaps: data(map[string]string{"config": "x", "pod.name": "y"})})
	compare(t, "errors", findings.Errors, []string{"tls.cipherSuites: \"TLS_NULL\" is not", "configMaps: \"Not_A_Name\" is not"})
	compare(t, "warnings", findings.Warnings, []string{"config: it is ignored in a ConfigMap", "pod.name: it is ignored in a ConfigMap"})
}

// A ConfigMap cannot say which process reads it, nor where settings are.
func TestWhatNoConfigMapCanSay(t *testing.T) {
	settings, _ := Load(Sources{ConfigMaps: data(map[string]string{"config": "x", "configMaps": "y", "pod.name": "z", "pod.namespace": "n"})})
	if settings != Defaults() {
		t.Errorf("it changed %+v", Changes(Defaults(), settings))
	}
}

// Of two ConfigMaps the later one wins, and what it overrules is told with its origin and value.
func TestWhatIsShadowedIsTold(t *testing.T) {
	sources := Sources{
		File: []byte("log: {level: error}"), Env: []string{"BESKAR7_LOG_LEVEL=warn"}, Flags: parsed(t, "--log-level=info"),
		ConfigMaps: []ConfigMap{{"weak", map[string]string{"log.level": "info"}}, {"strong", map[string]string{"log.level": "debug"}}},
	}
	for _, e := range Explain(sources) {
		if e.Setting.Key != "log.level" {
			continue
		}
		want := []Shadow{{Origin{SourceConfigMap, "weak"}, "info"}, {Origin{Source: SourceFlag}, "info"}, {Origin{Source: SourceEnvironment}, "warn"}, {Origin{Source: SourceFile}, "error"}}
		if e.Value != "debug" || e.Origin != (Origin{SourceConfigMap, "strong"}) || len(e.Shadows) != len(want) {
			t.Fatalf("explained as %+v", e)
		}
		for i := range want {
			if e.Shadows[i] != want[i] {
				t.Errorf("shadow %+v, want %+v", e.Shadows[i], want[i])
			}
		}
	}
}
