package config

import (
	"fmt"
	"time"
)

// leaseJitter is by how much the election library may stretch a retry period; a renew deadline within it never succeeds.
const leaseJitter = 1.2

// relate checks settings that are all valid against each other. What it finds is a warning, and only where someone chose the values: defaults do not complain about themselves.
func relate(s *Settings, from map[string]Source, findings *Findings) {
	chosen := func(keys ...string) bool {
		for _, key := range keys {
			if from[key] != SourceDefault {
				return true
			}
		}
		return false
	}
	p := &s.Provisioning
	if p.WorkerCount < p.MaxConcurrentOps && chosen("provisioning.workerCount", "provisioning.maxConcurrentOps") {
		findings.warn("provisioning.workerCount", Origin{}, fmt.Sprintf(
			"%d workers run at most %d of %d concurrent operations: set it to at least 1.5 times provisioning.maxConcurrentOps", p.WorkerCount, p.WorkerCount, p.MaxConcurrentOps))
	}
	if p.MaxQueueSize < 5*p.MaxConcurrentOps && chosen("provisioning.maxQueueSize", "provisioning.maxConcurrentOps") {
		findings.warn("provisioning.maxQueueSize", Origin{}, fmt.Sprintf(
			"%d is less than 5 times provisioning.maxConcurrentOps (%d): a burst will be refused", p.MaxQueueSize, p.MaxConcurrentOps))
	}
	if p.OperationTimeout < s.BMC.RequestTimeout {
		findings.warn("provisioning.operationTimeout", Origin{}, fmt.Sprintf(
			"%v ends an operation before bmc.requestTimeout (%v) ends one request of it", p.OperationTimeout, s.BMC.RequestTimeout))
	}
	if s.BMC.RequestTimeout < s.BMC.ConnectionTimeout {
		findings.warn("bmc.connectionTimeout", Origin{}, fmt.Sprintf(
			"%v never ends: bmc.requestTimeout (%v) ends the request first", s.BMC.ConnectionTimeout, s.BMC.RequestTimeout))
	}
	if s.KubeAPI.Burst < s.KubeAPI.QPS {
		findings.warn("kubeAPI.burst", Origin{}, fmt.Sprintf("%d is less than kubeAPI.qps (%d): set it to 1.5 times that", s.KubeAPI.Burst, s.KubeAPI.QPS))
	}
	relateVendors(s, findings)
}

// relateLeases checks each lease by itself, unless one of its values is not even a valid one.
func relateLeases(s *Settings, failed map[string]bool, findings *Findings) {
	l, c := &s.LeaderElection, &s.ClaimCoordinator
	sound := func(group string) bool {
		return !failed[group+".leaseDuration"] && !failed[group+".renewDeadline"] && !failed[group+".retryPeriod"]
	}
	if sound("leaderElection") {
		relateLease("leaderElection", l.LeaseDuration, l.RenewDeadline, l.RetryPeriod, findings)
	}
	if sound("claimCoordinator") {
		relateLease("claimCoordinator", c.LeaseDuration, c.RenewDeadline, c.RetryPeriod, findings)
	}
}

// relateLease: a lease that contradicts itself is an error, as the manager could not run.
func relateLease(group string, lease, renew, retry time.Duration, findings *Findings) {
	if renew >= lease {
		findings.fail(group+".renewDeadline", Origin{}, fmt.Sprintf("%v must be less than %s.leaseDuration (%v)", renew, group, lease))
	} else if share := float64(renew) / float64(lease); share < .6 || share > .8 {
		findings.warn(group+".renewDeadline", Origin{}, fmt.Sprintf(
			"%v is %.0f %% of %s.leaseDuration (%v); 60 to 80 %% are recommended", renew, 100*share, group, lease))
	}
	if float64(renew) <= leaseJitter*float64(retry) {
		findings.fail(group+".retryPeriod", Origin{}, fmt.Sprintf("%v must be less than %s.renewDeadline (%v) by more than a fifth", retry, group, renew))
	}
}

// relateVendors checks what one vendor's settings say together with the global ones.
func relateVendors(s *Settings, findings *Findings) {
	for i, name := range VendorNames() {
		v := s.Vendors[i]
		if v == (Tuning{}) {
			continue
		}
		if limit := s.Provisioning.MaxConcurrentOps; v.MaxConcurrentOps > limit {
			findings.warn("vendors."+name+".provisioning.maxConcurrentOps", Origin{}, fmt.Sprintf(
				"%d is never reached: provisioning.maxConcurrentOps (%d) limits all vendors together", v.MaxConcurrentOps, limit))
		}
		if e := s.For(name, Tuning{}, Tuning{}); e.OperationTimeout < e.RequestTimeout {
			findings.warn("vendors."+name+".provisioning.operationTimeout", Origin{}, fmt.Sprintf(
				"%v ends an operation before the request timeout of this vendor (%v) ends one request of it", e.OperationTimeout, e.RequestTimeout))
		}
	}
}
