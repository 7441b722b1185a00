package main

import (
	"fmt"
	"runtime"
	"time"
)

// run is the report of one run. Measures are what budgets are about; their names and units are in the list below.
type run struct {
	// Name is what was run, such as "optimistic 2000 x 2000"; it is unique in a report.
	Name     string    `json:"name"`
	Kind     string    `json:"kind"` // storm, kills, managers, limited or fleet
	Mode     string    `json:"mode"`
	Machines int       `json:"machines"`
	Hosts    int       `json:"hosts"`
	Replicas int       `json:"replicas"`
	Workers  int       `json:"workers,omitempty"`
	Seed     uint64    `json:"seed"`
	At       time.Time `json:"at"`
	CPUs     int       `json:"cpus"`
	// Measures by name.
	Measures map[string]float64 `json:"measures"`
	// Attempts by outcome, conflicts by reason, calls by outcome: of the claiming processes themselves.
	Attempts  map[string]int `json:"attempts,omitempty"`
	Conflicts map[string]int `json:"conflicts,omitempty"`
	Calls     map[string]int `json:"calls,omitempty"`
	// Requests are those of the claiming processes, counted by the API server.
	Requests *requests `json:"requests,omitempty"`
	Verdict  verdict   `json:"verdict"`
}

// measures explains every measure.
var measures = map[string]string{
	"rawWritesPerSecond":  "writes per second that the API server takes from as many clients",
	"rawCPUMillis":        "CPU milliseconds of all processes for each raw write",
	"costInRawWrites":     "CPU time of all processes for each claim, by that for each raw write: what a claim costs, whoever else uses the machine",
	"claimsPerSecond":     "machines with a host by the seconds from the start signal to the last of them",
	"fractionOfRawWrites": "claimsPerSecond by rawWritesPerSecond",
	"fractionAtOnePace":   "fractionOfRawWrites by rawPaceMillis times paceMillis: what it is had the computer kept the pace of the raw writes",
	"paceMillis":          "CPU milliseconds of one fixed calculation during the storm, mean: how slow this computer was, whatever we do",
	"rawPaceMillis":       "the same during the raw writes",
	"seconds":             "from the start signal until the last machine had its host",
	"growth":              "seconds for each machine, by those of the next smaller run of the mode, each in units of its paceMillis",
	"doubleClaims":        "hosts with two owners and machines with two hosts, and hosts taken without a release, in the history",
	"stranded":            "machines without a host, and claims that their machine does not name, at the end",
	"attemptsPerClaim":    "tries on one host, won or lost, for each claim",
	"writesPerClaim":      "write requests of the claiming processes for each claim, refused ones too",
	"conflictsPerClaim":   "write requests that were refused with a conflict for each claim",
	"requestsPerClaim":    "requests of the claiming processes for each claim, without watches and Leases, with lists at start",
	"failedRequests":      "requests that were refused with another error than a conflict",
	"latencyP50":          "seconds from the start signal until a machine had its host, median",
	"latencyP99":          "the same, 99th percentile",
	"claimP50":            "seconds inside the call that claimed, median; of the claiming processes themselves",
	"claimP99":            "the same, 99th percentile",
	"cpuMillisPerClaim":   "CPU milliseconds of the claiming processes for each claim, start included",
	"peakMemoryMiB":       "largest resident set of one claiming process",
	"apiCPUMillis":        "CPU milliseconds of kube-apiserver for each claim",
	"etcdCPUMillis":       "CPU milliseconds of etcd for each claim",
	"apiMemoryMiB":        "largest resident set of kube-apiserver so far",
	"exits":               "managers that ended by themselves, such as after a lost Lease, and were started again",
	"kills":               "processes that were killed and started again",
	"limitedWaitSeconds":  "seconds that requests waited for the client's own limit, as the manager's metric says",
	"hostsPerMinute":      "hosts registered at once, by the minutes until the last of them was available",
	"requestsPerHost":     "requests of the manager for each host until it was available, without watches and Leases",
	"idleCores":           "CPU seconds of the manager for each second in which nothing changed, polls of BMCs included",
	"idleMemoryMiB":       "resident set of the manager after it has rested",
	"idleWrites":          "write requests of the manager while it rested",
	"idleRequests":        "requests of the manager while it rested, without watches and Leases",
	"pollsPerHostMinute":  "requests that a BMC got in a minute while the manager rested",
	"limitedWaitShare":    "limitedWaitSeconds by the time that all requests took in the client, as the metrics say",
}

func newRun(o stormOptions) run {
	r := run{Kind: "storm", Mode: o.Mode, Machines: o.Machines, Hosts: o.Hosts, Replicas: o.Replicas, Workers: o.Workers, Seed: o.Seed,
		At: time.Now().UTC().Truncate(time.Second), CPUs: runtime.NumCPU(), Measures: map[string]float64{}}
	if o.Kills > 0 || o.Overlap {
		r.Kind = "kills"
	}
	r.name()
	return r
}

// name follows from what the run is.
func (r *run) name() {
	r.Name = fmt.Sprintf("%s, %s, %d machines on %d hosts, %d processes", r.Kind, r.Mode, r.Machines, r.Hosts, r.Replicas)
}

func (r *run) set(name string, value float64) {
	if measures[name] == "" {
		panic("the measure " + name + " is not explained")
	}
	r.Measures[name] = value
}

// measure fills in what the storm itself showed. times are sorted.
func (r *run) measure(times []time.Duration, c *crew, asked requests) {
	claims := float64(len(times))
	took := times[len(times)-1].Seconds()
	r.set("seconds", took)
	r.set("claimsPerSecond", claims/took)
	if raw := r.Measures["rawWritesPerSecond"]; raw > 0 {
		r.set("fractionOfRawWrites", claims/took/raw)
		r.set("fractionAtOnePace", claims/took/raw*r.Measures["paceMillis"]/r.Measures["rawPaceMillis"])
	}
	r.set("latencyP50", percentile(times, 50))
	r.set("latencyP99", percentile(times, 99))
	r.Attempts, r.Conflicts, r.Calls = map[string]int{}, map[string]int{}, map[string]int{}
	var calls []time.Duration
	for _, t := range c.tallies {
		add(r.Attempts, t.Attempts)
		add(r.Conflicts, t.Conflicts)
		add(r.Calls, t.Calls)
		calls = append(calls, t.Took...)
	}
	r.set("claimP50", percentile(calls, 50))
	r.set("claimP99", percentile(calls, 99))
	if c.killed == 0 { // what the killed counted is lost
		r.set("attemptsPerClaim", float64(r.Attempts["success"]+r.Attempts["conflict"])/claims)
	}
	r.set("writesPerClaim", float64(asked.Writes)/claims)
	r.set("conflictsPerClaim", float64(asked.Conflicts)/claims)
	r.set("requestsPerClaim", float64(asked.All)/claims)
	r.set("failedRequests", float64(asked.Failed))
	r.set("cpuMillisPerClaim", float64(c.spent.CPU.Milliseconds())/claims)
	r.set("peakMemoryMiB", mebi(c.spent.Memory))
	r.set("kills", float64(c.killed))
	r.Requests = &asked
}

// compare sets what a claim costs against a raw write. total is the CPU time of all processes from the start signal to the end.
func (r *run) compare(total time.Duration) {
	if raw := r.Measures["rawCPUMillis"]; raw > 0 {
		r.set("costInRawWrites", float64(total.Milliseconds())/float64(r.Machines)/raw)
	}
}

// server fills in what a process of the control plane used.
func (r *run) server(name string, used cost) {
	claims := float64(r.Machines)
	switch name {
	case "kube-apiserver":
		r.set("apiCPUMillis", float64(used.CPU.Milliseconds())/claims)
		r.set("apiMemoryMiB", mebi(used.Memory))
	case "etcd":
		r.set("etcdCPUMillis", float64(used.CPU.Milliseconds())/claims)
	}
}

func (r *run) judge(v verdict, o stormOptions) {
	r.Verdict = v
	r.set("doubleClaims", float64(len(v.Doubles)))
	// With too few hosts, so many machines have none by right.
	r.set("stranded", float64(max(0, len(v.Stranded)-max(0, o.Machines-o.Hosts))))
}

func mebi(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func add(into, from map[string]int) {
	for k, n := range from {
		into[k] += n
	}
}
