package config

import (
	"fmt"
	"strings"
)

// Sample is a ConfigMap with every key that one can hold, for config/samples. Applied as it is, it changes nothing: keys that
// would take the place of what is known of a vendor, or that the Deployment says better, are comments.
func Sample() string {
	var out strings.Builder
	out.WriteString(`# Generated from the code; do not edit. Every setting with its default; docs/configuration.md explains them.
# What is a comment takes effect without its "#". Keys without a value there have none by default.
apiVersion: v1
kind: ConfigMap
metadata:
  name: beskar7-config
  namespace: beskar7-system
data:
`)
	for i := range global() {
		s := &table[i]
		if s.Local {
			continue
		}
		hint := s.Effect()
		if limits := s.Range(); limits != "" {
			hint = limits + "; " + hint
		}
		mark := ""
		if s.chosen != nil || !s.Live || s.Flag != "" {
			mark = "# "
		}
		fmt.Fprintf(&out, "  %s%s: %q # %s\n", mark, s.Key, s.Default, hint)
	}
	out.WriteString("  # Of one vendor:")
	fmt.Fprintf(&out, " %s.\n", strings.Join(VendorNames(), ", "))
	for _, k := range vendorKeys {
		for i := range table {
			if s := &table[i]; s.Key == k.key {
				fmt.Fprintf(&out, "  # vendors.dell.%s: %q # %s\n", s.Key, s.Default, s.Range())
			}
		}
	}
	return out.String()
}
