// Package agent is what the deploy agent does on a server: it calls the manager, gets a plan, erases and writes disks as the plan
// says, tells how far it is, and ends. It only calls out.
//
// What it needs of the server is behind Hands, so that all of it runs on files, too.
package agent
