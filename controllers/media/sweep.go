package media

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
)

const (
	// sweepInterval is how often records without a grant are looked for: only a crash leaves them.
	sweepInterval = 10 * time.Minute
	// sweepAge is how old a record must be: it is written before its grant, and moved before the moved host is seen.
	SweepAge = time.Hour
)

// Sweep deletes the records of media whose grant is no more, and takes the bootstrap data out of those whose grant serves
// none any more. The host controller does both at once; this is for what a crash left undone. It runs in the process that drives.
type Sweep struct {
	// Client reads hosts from the cache, and writes.
	Client client.Client
	// Reader reads live.
	Reader client.Reader
	// SecretReader lists records from a cache of the Secrets that belong to clusters.
	SecretReader client.Reader
	Clock        clock.WithTicker
	// WatchFilter is the value of the watch-filter label that objects must have; empty: all.
	WatchFilter string
}

// Start sweeps until the context ends.
func (s *Sweep) Start(ctx context.Context) error {
	ticker := s.Clock.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		if err := s.Once(ctx); err != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Error(err, "Cannot collect the records of media that are not granted any more; it is tried again", "after", sweepInterval)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
	}
}

// Once looks at every record: one that cannot be tidied keeps no other from it.
func (s *Sweep) Once(ctx context.Context) error {
	records := &corev1.SecretList{}
	if err := s.SecretReader.List(ctx, records, client.HasLabels{v1beta1.MediumLabel}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list the records of media: %w", err)
	}
	var failed []error
	for i := range records.Items {
		record := &records.Items[i]
		if record.Type != v1beta1.MediumSecretType || s.WatchFilter != "" && record.Labels[clusterv1.WatchLabel] != s.WatchFilter {
			continue
		}
		if err := s.look(ctx, record); err != nil {
			failed = append(failed, fmt.Errorf("tidy the medium's Secret %s/%s: %w", record.Namespace, record.Name, err))
		}
	}
	return errors.Join(failed...)
}

// look disowns a record of an older version, and tidies one that is old enough.
func (s *Sweep) look(ctx context.Context, record *corev1.Secret) error {
	if err := s.disown(ctx, record); err != nil || s.Clock.Since(record.CreationTimestamp.Time) < SweepAge {
		return err
	}
	return s.tidy(ctx, record)
}

// disown takes the owner off a record that an older version made. The garbage collector deletes what is owned by a UID that is no more,
// and a restore gives the host another one, while a system may run from the medium.
func (s *Sweep) disown(ctx context.Context, record *corev1.Secret) error {
	if len(record.OwnerReferences) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": record.UID, "ownerReferences": nil}})
	if err != nil {
		return err
	}
	return client.IgnoreNotFound(s.Client.Patch(ctx, record.DeepCopy(), client.RawPatch(types.MergePatchType, patch)))
}

// tidy looks at one record and the host that it belongs to.
func (s *Sweep) tidy(ctx context.Context, record *corev1.Secret) error {
	granted, closed, err := s.grantOf(ctx, s.Client, record)
	if err != nil {
		return err
	}
	if granted && !closed {
		return nil
	}
	// What the cache says is asked again before anything is lost.
	if granted, closed, err = s.grantOf(ctx, s.Reader, record); err != nil {
		return err
	}
	if !granted {
		return client.IgnoreNotFound(s.Client.Delete(ctx, record.DeepCopy(), client.Preconditions{UID: &record.UID}))
	}
	patch, err := Blanked(record)
	if !closed || patch == nil || err != nil {
		return err
	}
	return client.IgnoreNotFound(s.Client.Patch(ctx, record.DeepCopy(), patch))
}

// grantOf says whether a host's grant has this record, and whether it serves no bootstrap data any more.
func (s *Sweep) grantOf(ctx context.Context, reader client.Reader, record *corev1.Secret) (granted, closed bool, err error) {
	m := &Record{}
	if err := json.Unmarshal(record.Data[RecordKey], m); err != nil {
		return false, false, fmt.Errorf("read which host it is of: %w", err)
	}
	host := &v1beta1.PhysicalHost{}
	err = reader.Get(ctx, client.ObjectKey{Namespace: record.Namespace, Name: m.Host}, host)
	if apierrors.IsNotFound(err) {
		return false, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("read its host: %w", err)
	}
	if claim := host.Spec.Claim; claim != nil && claim.Media != nil && RecordName(host.Name, claim.Media.TokenHash) == record.Name {
		return true, claim.Bound && DataClosed(claim, s.Clock.Now()), nil
	}
	return false, false, nil
}
