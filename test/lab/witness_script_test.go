package lab

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/emulator"
)

// script writes both records by hand. Each step takes place a second after the one before; an API write takes 100 ms of it.
type script struct {
	history
	now      time.Time
	version  uint64
	request  uint64
	seq      uint64
	hosts    map[string]hostVersion
	machines map[string]machineVersion
	logs     map[string]*serverLog
	// lives counts the removals of a name: the next object of that name has another UID.
	lives map[string]int
}

const claimID = "00000000000000aa"

func newScript() *script {
	t0 := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	return &script{history: history{namespace: "ns"}, now: t0, version: 100, hosts: map[string]hostVersion{}, machines: map[string]machineVersion{},
		logs: map[string]*serverLog{}, lives: map[string]int{}}
}

func (s *script) judge() *Witness {
	s.until = s.now.Add(time.Second)
	var logs []serverLog
	for _, l := range s.logs {
		logs = append(logs, *l)
	}
	return judge(s.history, logs)
}

func (s *script) tick() span {
	s.now = s.now.Add(time.Second)
	return span{s.now, s.now.Add(100 * time.Millisecond)}
}

func (s *script) write(w write, name string) {
	w.at = s.tick()
	s.version++
	w.key, w.version, w.uid = scriptKey(name), s.version, s.uid(name)
	s.writes = append(s.writes, w)
}

func (s *script) uid(name string) types.UID {
	return types.UID(fmt.Sprintf("%s-%d", name, s.lives[name]))
}

// host writes a version of a host; a new one gets the server of its name.
func (s *script) host(name string, change func(*hostVersion)) {
	v, known := s.hosts[name]
	if !known {
		v.address = "https://" + name
	}
	if v.claim != nil {
		v.claim = v.claim.DeepCopy()
	}
	change(&v)
	if s.logs[name] == nil {
		s.logs[name] = &serverLog{name: name, address: "https://" + name, nodes: map[string]bool{}, maxInFlight: 1}
	}
	s.hosts[name] = v
	s.write(write{kind: hostKind, host: &v}, name)
}

// machine writes a machine whose hostRef is host/claimID, or empty.
func (s *script) machine(name, host string) {
	v := machineVersion{}
	if host != "" {
		v.ref = &v1beta1.HostRef{Name: host, ClaimID: claimID}
		v.providerID = v1beta1.ProviderID("ns", host, claimID)
	}
	s.machines[name] = v
	s.write(write{kind: machineKind, machine: &v}, name)
}

func (s *script) remove(k kind, name string) {
	s.writes = append(s.writes, write{at: s.tick(), kind: k, key: scriptKey(name), uid: s.uid(name), removed: true})
	s.lives[name]++
}

// event is something that happened at a server by itself.
func (s *script) event(server string, who emulator.Actor, k emulator.EventKind, from, to string) {
	s.tick()
	s.log(server, emulator.Event{Who: who, Kind: k, From: from, To: to})
}

func (s *script) log(server string, e emulator.Event) {
	s.seq++
	e.Seq, e.BMC, e.Time = s.seq, server, s.now
	s.logs[server].events = append(s.logs[server].events, e)
}

// redfish is a changing request and its events (kind, from, to each).
func (s *script) redfish(server string, events ...[3]string) {
	s.tick()
	s.request++
	l := s.logs[server]
	l.changes = append(l.changes, emulator.Change{ID: s.request, Start: s.now, End: s.now.Add(10 * time.Millisecond), Method: "POST", Path: "/x", Status: 204, Changed: true})
	for _, e := range events {
		s.log(server, emulator.Event{Who: emulator.ByRedfish, Request: s.request, Kind: emulator.EventKind(e[0]), From: e[1], To: e[2]})
	}
}

const (
	armedOnce  = "Cd/Once/UEFI"
	unarmed    = "None/Disabled/UEFI"
	mediaSlot  = "Cd1"
	claimedFor = "m"
)

func (s *script) offer(name string) { s.host(name, func(v *hostVersion) { v.available = true }) }

// claim is both sides: intent on the machine, then the host.
func (s *script) claim(host, machine string) {
	s.machine(machine, host)
	s.host(host, func(v *hostVersion) {
		v.claim, v.mode = &v1beta1.Claim{ID: claimID, Machine: machine, Cluster: "c"}, v1beta1.BootModeLive
	})
	s.host(host, func(v *hostVersion) { v.available = false })
}

func (s *script) insert(host string) { s.redfish(host, [3]string{"media-insert", "", mediaSlot}) }
func (s *script) eject(host string)  { s.redfish(host, [3]string{"media-eject", mediaSlot, ""}) }
func (s *script) arm(host string)    { s.redfish(host, [3]string{"override", unarmed, armedOnce}) }
func (s *script) disarm(host string) { s.redfish(host, [3]string{"override", armedOnce, unarmed}) }

func (s *script) powerOn(host string) {
	s.redfish(host, [3]string{"reset", "", "On"}, [3]string{"power", "Off", "PoweringOn"}, [3]string{"power", "PoweringOn", "On"})
}

func (s *script) forceOff(host string) {
	s.redfish(host, [3]string{"reset", "", "ForceOff"}, [3]string{"power", "On", "PoweringOff"}, [3]string{"power", "PoweringOff", "Off"})
}

// boot is what follows from armed power-on.
func (s *script) boot(host string) {
	s.event(host, emulator.ByFirmware, emulator.EventOverride, armedOnce, unarmed)
	s.event(host, emulator.ByFirmware, emulator.EventBoot, "", "Cd")
	s.logs[host].nodes[v1beta1.ProviderID("ns", host, claimID)] = true
}

func (s *script) provision(host string) {
	s.insert(host)
	s.arm(host)
	s.powerOn(host)
	s.boot(host)
}

func (s *script) bind(host string) { s.host(host, func(v *hostVersion) { v.claim.Bound = true }) }

// grant is the capability to read the claim's medium.
func (s *script) grant(host string) {
	s.host(host, func(v *hostVersion) { v.claim.Media = &v1beta1.MediaGrant{TokenHash: "00"} })
}

// push is the owner's finger on the power button.
func (s *script) push(host string) {
	s.event(host, emulator.ByButton, emulator.EventPower, "Off", "On")
}

func (s *script) mark(host string) {
	s.host(host, func(v *hostVersion) {
		v.claim.Release = &v1beta1.Release{Reason: "MachineDeleted", RequestedAt: metav1.NewTime(s.now)}
	})
}

func (s *script) clear(host string) {
	s.host(host, func(v *hostVersion) { v.claim, v.mode = nil, "" })
}

// running is a host that was provisioned and bound for machine m.
func (s *script) running(host string) {
	s.offer(host)
	s.claim(host, claimedFor)
	s.provision(host)
	s.bind(host)
}

// end is its release, up to the pool.
func (s *script) end(host string) {
	s.mark(host)
	s.forceOff(host)
	s.eject(host)
	s.clear(host)
	s.remove(machineKind, claimedFor)
	s.offer(host)
}

func scriptKey(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "ns", Name: name}
}
