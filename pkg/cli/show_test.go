package cli

import (
	"encoding/json"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/pkg/config"
)

func shownBy(t *testing.T, text string) map[string]shown {
	t.Helper()
	var got struct{ Settings []shown }
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	list := map[string]shown{}
	for _, s := range got.Settings {
		list[s.Key] = s
	}
	return list
}

func TestShowTheInstalledManager(t *testing.T) {
	changed := settingsMap(map[string]string{"log.level": "debug", "kubeAPI.qps": "25", "leaderElection.enabled": "false", "vendors.hpe.bmc.maxRetries": "4"})
	at := time.Date(2026, 1, 1, 5, 0, 0, 0, time.UTC)
	changed.CreationTimestamp = metav1.Time{Time: at}
	w := newWorld(t, deployment(), pod("a", at.Add(-time.Hour)), pod("b", at.Add(time.Hour)), changed)
	list := shownBy(t, w.run(0, "config", "show", "-o", "json"))
	for _, s := range config.Table() {
		if _, ok := list[s.Key]; ok == s.Optional && s.Key != "vendors.hpe.bmc.maxRetries" {
			t.Errorf("%s: shown is %v", s.Key, ok)
		}
	}
	if s := list["log.level"]; s.Value != "debug" || s.Source != "configmap beskar7-config" || len(s.Shadows) != 1 ||
		s.Shadows[0] != (config.Shadow{Origin: config.Origin{Source: config.SourceEnvironment}, Value: "info"}) || s.Effect != "live" || s.Range == "" || s.Note != "" {
		t.Errorf("%+v", s)
	}
	if s := list["leaderElection.enabled"]; s.Value != "true" || s.Source != "flag" || len(s.Shadows) != 1 || s.Note != "" {
		t.Errorf("%+v", s)
	}
	if s := list["kubeAPI.qps"]; s.Value != "25" || s.Note != "needs a restart: the ConfigMap changed after 1 of 2 Pods started" {
		t.Errorf("%+v", s)
	}
	w.has(w.run(0, "config", "show"), "KEY", "log.level", "environment=info", "vendors.hpe.bmc.maxRetries", "needs a restart")
	w.has(w.run(0, "config", "show", "--all"), "vendors.dell.bmc.retryDelay")
}

func TestShowWhatIsInvalidAndWhatIsNotThere(t *testing.T) {
	w := installed(t, map[string]string{"bmc.maxRetries": "0", "bmc.retryDelay": "7s"})
	w.has(w.run(0, "config", "show"), "invalid, so that no change is in effect: 0 is outside", "error: bmc.maxRetries (configmap beskar7-config)")
	list := shownBy(t, w.run(0, "config", "show", "-o", "json"))
	if s := list["bmc.retryDelay"]; s.Note != "not in effect if it is new: another setting is invalid" || list["bmc.requestTimeout"].Note != "" {
		t.Errorf("beside an invalid setting: %+v", list)
	}
	if err := w.client.Delete(t.Context(), deployment()); err != nil {
		t.Fatal(err)
	}
	w.run(1, "config", "show")
	w.has(w.err.String(), "there is no Deployment beskar7-controller-manager in namespace beskar7-system")
}

func TestShowWhatWouldStartHere(t *testing.T) {
	w := newWorld(t)
	list := shownBy(t, w.run(0, "config", "show", "--local", "-o=json", "--", "--kube-api-qps=30", "--config-map=a", "--config-map", "b",
		"--config", file(t, "s.yaml", "bmc: {maxRetries: 7}")))
	if list["bmc.maxRetries"].Value != "7" || list["kubeAPI.qps"].Value != "30" || list["configMaps"].Value != "a,b" {
		t.Errorf("%+v", list)
	}
	w.run(2, "config", "show", "--local", "--", "--kube-api-qp=30")
	w.has(w.err.String(), "did you mean --kube-api-qps?")
}

// Of several ConfigMaps a change goes to the one that wins.
func TestTheStrongestConfigMap(t *testing.T) {
	w := installed(t, nil)
	d := deployment()
	if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(d), d); err != nil {
		t.Fatal(err)
	}
	d.Spec.Template.Spec.Containers[1].Args = append(installedArgs[:2:2], "--config-map=beskar7-config-dell-idrac", "--config-map=beskar7-config")
	if err := w.client.Update(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	in, err := w.cli().installation(t.Context(), &place{namespace: system, deployment: d.Name})
	if err != nil || in.strongest() != "beskar7-config" || len(in.configMaps) != 0 {
		t.Fatalf("%v %v", in, err)
	}
}
