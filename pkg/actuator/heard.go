package actuator

import (
	"context"
	"net/http/httptrace"

	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
)

// heard has the gate told of the first sign of life of the BMC in a run with this context: a connection that it took, or one that it
// had kept. How long the answer takes is no matter: a log-in can take a BMC many seconds.
func heard(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { bmcqueue.Answered(ctx) },
		ConnectDone: func(_, _ string, err error) {
			if err == nil {
				bmcqueue.Answered(ctx)
			}
		},
	})
}
