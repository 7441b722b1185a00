package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// forwarder makes the way to a Pod that Access.Forward is, through the API server.
func forwarder(config *rest.Config) func(context.Context, string, string, string) (string, func(), error) {
	return func(ctx context.Context, namespace, pod, port string) (string, func(), error) {
		clientset, err := kubernetes.NewForConfig(config)
		if err != nil {
			return "", nil, err
		}
		transport, upgrader, err := spdy.RoundTripperFor(config)
		if err != nil {
			return "", nil, err
		}
		url := clientset.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
		dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
		stop, ready, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		forward, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:" + port}, stop, ready, io.Discard, io.Discard)
		if err != nil {
			return "", nil, err
		}
		go func() { ended <- forward.ForwardPorts() }()
		select {
		case <-ready:
		case err := <-ended:
			return "", nil, fmt.Errorf("forward a port to Pod %s: %w", pod, err)
		case <-ctx.Done():
			close(stop)
			return "", nil, ctx.Err()
		}
		ports, err := forward.GetPorts()
		if err != nil || len(ports) == 0 {
			close(stop)
			return "", nil, fmt.Errorf("forward a port to Pod %s: %w", pod, err)
		}
		return fmt.Sprintf("127.0.0.1:%d", ports[0].Local), func() { close(stop); <-ended }, nil
	}
}
