package coordinator

import (
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// move is `clusterctl move` from one side to the other: pause, wait for the blocks, copy hosts, copy machines, delete, unpause.
// Between any two of its writes everything else may happen, on both sides.
type move struct {
	from, to        *side
	hosts, machines []string
	copied          bool
}

// moveOn takes a move one write further, or begins one.
func (m *model) moveOn() {
	mv := m.move
	switch {
	case mv == nil:
		m.move = &move{from: m.at, to: m.other}
		m.at.paused, m.other.paused = true, true
		m.tell("the cluster on %s is paused for a move", m.at.name)
	case !mv.copied && m.carryPause(mv.from):
	case !mv.copied:
		mv.copied = true
		for _, host := range sorted(mv.from.api.hosts) {
			mv.hosts = append(mv.hosts, host.Name)
		}
		for _, machine := range sorted(mv.from.api.machines) {
			mv.machines = append(mv.machines, machine.Name)
		}
	case len(mv.hosts) > 0:
		m.copyHost(mv)
	case len(mv.machines) > 0:
		m.copyMachine(mv)
	default:
		m.arrive(mv)
	}
}

// carryPause does one write of the machine controller on a paused cluster: the pause to the host, then the block away.
func (m *model) carryPause(s *side) bool {
	for _, machine := range sorted(s.api.machines) {
		if _, blocked := machine.Annotations[clusterctlv1.BlockMoveAnnotation]; !blocked {
			continue
		}
		if ref := machine.Spec.HostRef; ref != nil {
			if host := s.api.hosts[ref.Name]; host != nil && host.ClaimedBy(machine) && !host.Spec.Paused {
				m.tell("%s: the pause of %s is carried to %s", s.name, machine.Name, host.Name)
				m.edit(s, host, func(h *v1beta1.PhysicalHost) { h.Spec.Paused = true })
				return true
			}
		}
		m.tell("%s: %s does not block the move any more", s.name, machine.Name)
		m.editMachine(s, machine, func(x *v1beta1.Beskar7Machine) { delete(x.Annotations, clusterctlv1.BlockMoveAnnotation) })
		return true
	}
	return false
}

func (m *model) copyHost(mv *move) {
	name := mv.hosts[0]
	mv.hosts = mv.hosts[1:]
	host := mv.from.api.hosts[name].DeepCopy()
	m.tell("%s is copied to %s", name, mv.to.name)
	host.ResourceVersion = ""
	mv.to.api.put(host)
	m.hostController(mv.to, name) // it looks at once, when no machine is there yet
}

func (m *model) copyMachine(mv *move) {
	name := mv.machines[0]
	mv.machines = mv.machines[1:]
	if machine := mv.from.api.machines[name]; machine != nil {
		m.tell("%s is copied to %s", name, mv.to.name)
		moved := m.reborn(machine)
		if m.deleted[machine.UID] {
			m.deleted[moved.UID] = true
		}
		mv.to.api.put(moved)
	}
}

// arrive deletes what was moved, lets the other side take over, and ends the pause there.
func (m *model) arrive(mv *move) {
	m.tell("the move to %s is done; %s is emptied", mv.to.name, mv.from.name)
	m.count("move")
	for _, machine := range sorted(mv.from.api.machines) {
		mv.from.api.drop(machine)
	}
	for _, host := range sorted(mv.from.api.hosts) {
		mv.from.api.drop(host)
	}
	m.at, m.other = mv.to, mv.from
	m.move = nil
	m.lost()
	m.at.paused = false
	for _, machine := range sorted(m.at.api.machines) {
		m.resume(machine)
	}
	m.staff()
}

// lost forgets the claims that were written on the side that was left after the copy: they ended with it.
func (m *model) lost() {
	for name, was := range m.claims {
		if host := m.at.api.hosts[name]; host != nil && (host.Spec.Claim == nil || host.Spec.Claim.ID != was.ID) {
			if m.servers[name].claim == was.ID {
				m.fail("I5: the claim of %s, whose server runs, did not survive the move", name)
			}
			delete(m.claims, name)
		}
	}
	m.owned = map[string]ownership{}
}

// resume ends the pause of one machine and its host: the block first.
func (m *model) resume(machine *v1beta1.Beskar7Machine) {
	ref := machine.Spec.HostRef
	if ref == nil {
		return
	}
	m.editMachine(m.at, machine, func(x *v1beta1.Beskar7Machine) { x.Annotations[clusterctlv1.BlockMoveAnnotation] = "" })
	if host := m.at.api.hosts[ref.Name]; host != nil && host.ClaimedBy(m.at.api.machines[machine.Name]) && host.Spec.Paused {
		m.edit(m.at, host, func(h *v1beta1.PhysicalHost) { h.Spec.Paused = false })
	}
}
