// Command agent is the only program on the medium from which a server is deployed or erased. It is the first process of that system:
// it mounts what it needs, loads the modules of the devices that are there, configures the network, and does what the manager's plan
// says. In the end it powers the server off, whatever happened: the manager sees that, and has heard why.
//
// It is given its way to the manager with the medium (pkg/agent/protocol, Seed), and listens to nobody.
package main
