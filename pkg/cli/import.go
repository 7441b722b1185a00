package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// importHosts registers the hosts of a file. The same file a second time changes nothing; a changed one changes what it says,
// and leaves alone what it does not speak of.
func (c *CLI) importHosts(ctx context.Context, args []string) error {
	flags := c.flags("hosts import")
	where, namespace := c.hostFlags(flags)
	dryRun := flags.Bool("dry-run", false, "let the API server check everything, and change nothing")
	shared := flags.String("credentials-secret", "", "the Secret of rows that give neither username and password nor credentialsSecret")
	if err := parse(flags, args, 1, 1); err != nil {
		return err
	}
	file, err := c.readFile(flags.Arg(0))
	if err != nil {
		return err
	}
	rows, problems := readRows(flags.Arg(0), file)
	for i := range rows {
		v := rows[i].values
		if v["credentialsSecret"] == "" && v["username"] == "" && v["password"] == "" && *shared != "" {
			v["credentialsSecret"] = *shared
		}
		if v["namespace"] == "" {
			v["namespace"] = *namespace
		}
	}
	problems = append(problems, checkRows(rows)...)
	for _, p := range problems {
		fmt.Fprintf(c.Out, "%s:%d: error: %s\n", flags.Arg(0), p.line, p.message)
	}
	if len(problems) > 0 {
		fmt.Fprintf(c.Out, "nothing was imported: %d errors\n", len(problems))
		return errFound
	}
	access, err := c.Connect(where.kubeconfig, where.context)
	if err != nil {
		return err
	}
	i := importer{CLI: c, client: access.Client, counts: map[string]int{}}
	if *dryRun {
		i.client, i.suffix = client.NewDryRunClient(access.Client), " (dry run)"
	}
	return i.all(ctx, flags.Arg(0), rows)
}

type importer struct {
	*CLI
	client client.Client
	suffix string
	counts map[string]int
}

// all imports every row, also after one that fails.
func (i *importer) all(ctx context.Context, file string, rows []row) error {
	failed := false
	for _, r := range rows {
		if err := errors.Join(i.secret(ctx, r), i.host(ctx, r)); err != nil {
			failed = true
			fmt.Fprintf(i.Out, "%s:%d: error: %v\n", file, r.line, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	fmt.Fprintf(i.Out, "%d created, %d changed, %d unchanged%s\n", i.counts["created"], i.counts["changed"], i.counts["unchanged"], i.suffix)
	if failed {
		return errFound
	}
	return nil
}

func (i *importer) say(kind string, o client.Object, what string) {
	i.counts[what]++
	fmt.Fprintf(i.Out, "%s %s/%s %s%s\n", kind, o.GetNamespace(), o.GetName(), what, i.suffix)
}

// secretName is the Secret of a row that brings its own credentials.
func (r row) secretName() string {
	if name := r.values["credentialsSecret"]; name != "" {
		return name
	}
	return r.values["name"] + "-bmc"
}

// secret writes the credentials of a row that brings them. One of the same name that holds something else is not touched.
func (i *importer) secret(ctx context.Context, r row) error {
	if r.values["username"] == "" {
		return nil
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.values["namespace"], Name: r.secretName()}}
	wanted := map[string][]byte{"username": []byte(r.values["username"]), "password": []byte(r.values["password"])}
	err := i.client.Get(ctx, client.ObjectKeyFromObject(secret), secret)
	if apierrors.IsNotFound(err) {
		secret.Type, secret.Data = corev1.SecretTypeOpaque, wanted
		if err := i.client.Create(ctx, secret); err != nil {
			return fmt.Errorf("create Secret %s: %w", secret.Name, err)
		}
		i.say("Secret", secret, "created")
		return nil
	}
	if err != nil {
		return fmt.Errorf("read Secret %s: %w", secret.Name, err)
	}
	if len(secret.Data) > 0 && secret.Data["username"] == nil && secret.Data["password"] == nil {
		return fmt.Errorf("Secret %s exists and holds no BMC credentials: rename the host, or it", secret.Name) //nolint:staticcheck // a kind begins with a capital
	}
	base := secret.DeepCopy()
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	same := true
	for key, value := range wanted {
		same = same && bytes.Equal(secret.Data[key], value)
		secret.Data[key] = value
	}
	if same {
		i.say("Secret", secret, "unchanged")
		return nil
	}
	if err := i.client.Patch(ctx, secret, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("patch Secret %s: %w", secret.Name, err)
	}
	i.say("Secret", secret, "changed")
	return nil
}

// host writes what a row says of a host, and nothing else of it.
func (i *importer) host(ctx context.Context, r row) error {
	host := &v1beta1.PhysicalHost{ObjectMeta: metav1.ObjectMeta{Namespace: r.values["namespace"], Name: r.values["name"]}}
	err := i.client.Get(ctx, client.ObjectKeyFromObject(host), host)
	if apierrors.IsNotFound(err) {
		r.fill(host)
		if err := i.client.Create(ctx, host); err != nil {
			return fmt.Errorf("create PhysicalHost %s: %w", r.values["name"], err)
		}
		i.say("PhysicalHost", host, "created")
		return nil
	}
	if err != nil {
		return fmt.Errorf("read PhysicalHost %s: %w", r.values["name"], err)
	}
	base := host.DeepCopy()
	r.fill(host)
	if equality.Semantic.DeepEqual(base, host) {
		i.say("PhysicalHost", host, "unchanged")
		return nil
	}
	if err := i.client.Patch(ctx, host, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("patch PhysicalHost %s: %w", host.Name, err)
	}
	i.say("PhysicalHost", host, "changed")
	return nil
}

// fill puts what the row says into the host. Booleans and numbers were checked.
func (r row) fill(host *v1beta1.PhysicalHost) {
	connection := &host.Spec.RedfishConnection
	connection.CredentialsSecretRef.Name = r.secretName()
	for column, field := range map[string]*string{
		"address": &connection.Address, "certificateFingerprint": &connection.CertificateFingerprint, "systemID": &connection.SystemID,
		"vendor": &connection.Vendor, "failureDomain": &host.Spec.FailureDomain,
	} {
		if value := r.values[column]; value != "" {
			*field = value
		}
	}
	for column, field := range map[string]*bool{
		"insecureSkipVerify": &connection.InsecureSkipVerify, "allowPlainHTTP": &connection.AllowPlainHTTP, "consentToErase": &host.Spec.ConsentToErase,
		"maintenance": &host.Spec.Maintenance, "allowPlainMedia": &host.Spec.AllowPlainMedia,
	} {
		if value, err := strconv.ParseBool(r.values[column]); err == nil {
			*field = value
		}
	}
	if n, err := strconv.ParseInt(r.values["priority"], 10, 32); err == nil {
		host.Spec.Priority = int32(n)
	}
	if name := r.values["caBundleSecret"]; name != "" {
		connection.CABundleSecretRef = &v1beta1.SecretReference{Name: name}
	}
	for key, value := range r.labels {
		if host.Labels == nil {
			host.Labels = map[string]string{}
		}
		host.Labels[key] = value
	}
}
