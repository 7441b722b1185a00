// Package process wires one process of the manager: settings, manager, dependencies, controllers, each part made once and handed to
// those who need it. It decides nothing.
//
// Guarantees: what a setting changes is found by following it through this package in one direction, from config.Settings to the part
// that it is handed to; the controllers and the BMC gate run in the one process that holds the driver lease, all else in every one.
package process
