package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/config"
	"github.com/beskar7/beskar7/pkg/hostselection"
	"github.com/beskar7/beskar7/pkg/scope"
)

// explanation is why hosts are, or are not, chosen for a machine.
type explanation struct {
	Machine   string   `json:"machine"`
	Algorithm string   `json:"algorithm"`
	Wants     []string `json:"wants"`
	// Host that the machine has, if it has one.
	Host string `json:"host,omitempty"`
	// Says is what the machine's conditions report.
	Says    []string     `json:"says,omitempty"`
	Summary string       `json:"summary"`
	Hosts   []hostAnswer `json:"hosts"`
}

// hostAnswer is the reasoning about one host.
type hostAnswer struct {
	Host string `json:"host"`
	// Rank is 1 for the host that would be tried first; 0 for those that do not fit.
	Rank int `json:"rank"`
	// Refused are all reasons against it, the one that counts first.
	Refused []string `json:"refused,omitempty"`
	State   string   `json:"state,omitempty"`
	// Shares are what the order is made of, as far as the host was asked.
	Shares []hostselection.Share `json:"shares,omitempty"`
}

// hostFlags are those of the commands about hosts: their namespace is that of the hosts.
func (c *CLI) hostFlags(flags *pflag.FlagSet) (where *place, namespace *string) {
	where = &place{}
	flags.StringVar(&where.kubeconfig, "kubeconfig", "", "the kubeconfig of the management cluster")
	flags.StringVar(&where.context, "context", "", "the context in it")
	return where, flags.StringP("namespace", "n", "default", "the namespace of the hosts")
}

// explain says for every host why it is, or is not, chosen for a machine.
func (c *CLI) explain(ctx context.Context, args []string) error {
	flags := c.flags("hosts explain")
	format := output(flags)
	where, namespace := c.hostFlags(flags)
	algorithm := flags.String("algorithm", "", "the order of hosts; without it that of the installed manager")
	flags.StringVar(&where.namespace, "manager-namespace", config.DefaultNamespace, "the manager's namespace")
	flags.StringVar(&where.deployment, "deployment", "beskar7-controller-manager", "the manager's Deployment")
	if err := parse(flags, args, 1, 1); err != nil {
		return err
	}
	if err := checkOutput(*format); err != nil {
		return err
	}
	known := []hostselection.Algorithm{hostselection.Deterministic, hostselection.RoundRobin, hostselection.Priority}
	if *algorithm != "" && !slices.Contains(known, hostselection.Algorithm(*algorithm)) { // selection would take the default without a word
		return usagef("--algorithm is one of %v, not %q", known, *algorithm)
	}
	access, err := c.Connect(where.kubeconfig, where.context)
	if err != nil {
		return err
	}
	order, filter := c.choice(ctx, access, *where)
	if *algorithm != "" {
		order = hostselection.Algorithm(*algorithm)
	}
	e, err := explainMachine(ctx, access.Client, client.ObjectKey{Namespace: *namespace, Name: flags.Arg(0)}, order, filter, c.Now)
	if err != nil {
		return err
	}
	return c.printExplanation(e, *format)
}

// choice is how the installed manager orders hosts, and its --watch-filter. Whoever may read hosts need not be allowed to read that:
// then the default counts, and no filter.
func (c *CLI) choice(ctx context.Context, access *Access, where place) (order hostselection.Algorithm, filter string) {
	in := &installation{Access: access, place: where}
	if err := in.read(ctx); err != nil {
		fmt.Fprintf(c.Err, "the manager's settings cannot be read, so that the default order counts, and every host as its own: %v\n", err)
		return hostselection.Algorithm(config.Defaults().HostSelection.Algorithm), ""
	}
	s, _ := config.Load(in.sources)
	return hostselection.Algorithm(s.HostSelection.Algorithm), s.Scope.WatchFilter
}

// wish is what the coordinator asks selection for.
func wish(ctx context.Context, c client.Client, machine *v1beta1.Beskar7Machine) (hostselection.Request, []string, error) {
	request := hostselection.Request{Namespace: machine.Namespace, Machine: machine.Name, Cluster: machine.Labels[clusterv1.ClusterNameLabel], Requirements: machine.Spec.HardwareRequirements,
		Spread: machine.Spec.Spread, Reuse: machine.Spec.Reuse, Selector: labels.Everything()}
	var words []string
	if s := machine.Spec.HostSelector; s != nil {
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			return request, nil, fmt.Errorf("spec.hostSelector of the machine: %w", err)
		}
		request.Selector = selector
		words = append(words, "labels "+selector.String())
	}
	r := machine.Spec.HardwareRequirements
	for _, w := range []struct {
		needed bool
		text   string
	}{
		{r.MinCores > 0, fmt.Sprintf("at least %d cores", r.MinCores)}, {!r.MinMemory.IsZero(), "at least " + r.MinMemory.String() + " of memory"},
		{!r.MinDisk.IsZero(), "a disk of at least " + r.MinDisk.String()}, {r.MinNICs > 0, fmt.Sprintf("at least %d network interfaces", r.MinNICs)},
		{r.Architecture != "", "architecture " + r.Architecture}, {len(r.Models) > 0, "one of the models " + strings.Join(r.Models, ", ")},
	} {
		if w.needed {
			words = append(words, w.text)
		}
	}
	owner, err := util.GetOwnerMachine(ctx, c, machine.ObjectMeta)
	if err != nil && !apierrors.IsNotFound(err) {
		return request, nil, fmt.Errorf("read the owner of the machine: %w", err)
	}
	if owner != nil {
		request.Owner, request.FailureDomain = hostselection.OwnerOf(owner.Labels), owner.Spec.FailureDomain
	}
	switch {
	case request.FailureDomain != "":
		words = append(words, "failure domain "+request.FailureDomain)
	case request.Spread != "" && request.Spread != v1beta1.SpreadNone:
		words = append(words, "spread over failure domains: "+string(request.Spread))
	}
	if request.Reuse != "" && request.Reuse != v1beta1.ReuseNone {
		words = append(words, "a host that one of its own gave back: "+string(request.Reuse))
	}
	return request, words, nil
}

func explainMachine(ctx context.Context, c client.Client, name client.ObjectKey, algorithm hostselection.Algorithm, filter string,
	now func() time.Time,
) (explanation, error) {
	machine := &v1beta1.Beskar7Machine{}
	if err := c.Get(ctx, name, machine); err != nil {
		return explanation{}, fmt.Errorf("read the machine: %w", err)
	}
	request, words, err := wish(ctx, c, machine)
	if err != nil {
		return explanation{}, err
	}
	request.Now = now()
	list := &v1beta1.PhysicalHostList{}
	if err := c.List(ctx, list, client.InNamespace(name.Namespace)); err != nil {
		return explanation{}, fmt.Errorf("list the hosts: %w", err)
	}
	var hosts, others []*v1beta1.PhysicalHost
	for i := range list.Items {
		if h := &list.Items[i]; scope.Owned(filter, h) {
			hosts = append(hosts, h)
		} else {
			others = append(others, h)
		}
	}
	pool := hostselection.NewPool(name.Namespace, hosts...)
	e := explanation{Machine: name.String(), Algorithm: string(algorithm), Wants: append([]string{}, words...), Hosts: []hostAnswer{},
		Summary: pool.Rank(algorithm, request).Diagnosis.Message(), Says: troubles(machine)}
	if !scope.Owned(filter, machine) {
		e.Says = append(e.Says, "nothing, to this manager: "+foreign(filter))
	}
	if ref := machine.Spec.HostRef; ref != nil {
		e.Host = ref.Name
	}
	for _, x := range pool.Explain(algorithm, request) {
		host := pool.Host(x.Host)
		e.Hosts = append(e.Hosts, hostAnswer{Host: x.Host, Rank: x.Place, State: string(host.Status.State), Refused: refusals(x, machine, host), Shares: x.Shares})
	}
	for _, h := range others {
		e.Hosts = append(e.Hosts, hostAnswer{Host: h.Name, State: string(h.Status.State), Refused: []string{foreign(filter)}})
	}
	return e, nil
}

// foreign says why an object is none of the manager's.
func foreign(filter string) string {
	return fmt.Sprintf("it belongs to another manager: this one's --watch-filter is %[2]q, and the label %[1]s=%[2]s is missing", clusterv1.WatchLabel, filter)
}

// troubles are the conditions of a machine that are not as they should be.
func troubles(machine *v1beta1.Beskar7Machine) []string {
	var out []string
	for _, condition := range machine.GetConditions() {
		if condition.Status != metav1.ConditionTrue && condition.Message != "" {
			out = append(out, fmt.Sprintf("%s (%s): %s", condition.Type, condition.Reason, condition.Message))
		}
	}
	return out
}

// refusals are all reasons against a host; that it is claimed says by whom.
func refusals(x hostselection.Explanation, machine *v1beta1.Beskar7Machine, host *v1beta1.PhysicalHost) []string {
	var out []string
	for _, verdict := range x.Verdicts {
		switch {
		case verdict.Reason == "":
		case verdict.Reason == hostselection.Claimed && host.Spec.Claim != nil && host.Spec.Claim.Machine == machine.Name:
			out = append(out, "claimed by this machine")
		case verdict.Reason == hostselection.Claimed && host.Spec.Claim != nil:
			out = append(out, "claimed by machine "+host.Spec.Claim.Machine)
		case verdict.Reason == hostselection.Quarantined && host.Spec.Quarantine != nil:
			out = append(out, "quarantined: "+host.Spec.Quarantine.Message)
		default:
			out = append(out, string(verdict.Reason))
		}
	}
	return out
}

// because names the factors that have a weight, with what each adds.
func because(shares []hostselection.Share) string {
	var out []string
	for _, s := range shares {
		if s.Weight != 0 && s.Points != 0 {
			out = append(out, fmt.Sprintf("%s %+d", s.Factor, s.Points*s.Weight))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return " (" + strings.Join(out, ", ") + ")"
}

func (c *CLI) printExplanation(e explanation, format string) error {
	if format == "json" {
		encoder := json.NewEncoder(c.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(e)
	}
	fmt.Fprintf(c.Out, "Machine %s\n", e.Machine)
	if e.Host != "" {
		fmt.Fprintf(c.Out, "It has host %s; what follows is what it would find without.\n", e.Host)
	}
	for _, line := range e.Says {
		fmt.Fprintln(c.Out, "It says:", line)
	}
	wants := "any host"
	if len(e.Wants) > 0 {
		wants = strings.Join(e.Wants, ", ")
	}
	fmt.Fprintf(c.Out, "It wants: %s\nOrder:    %s\n%s\n\n", wants, e.Algorithm, e.Summary)
	table := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "RANK\tHOST\tSTATE\tWHY")
	for _, h := range e.Hosts {
		rank, why := "-", "refused: "+strings.Join(h.Refused, "; ")
		switch {
		case h.Rank == 1:
			rank, why = "1", "fits; tried first"+because(h.Shares)
		case h.Rank > 1:
			rank, why = fmt.Sprint(h.Rank), "fits"+because(h.Shares)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", rank, h.Host, dash(h.State), why)
	}
	return table.Flush()
}
