// Package protocol is what the deploy agent and the manager say to each other: JSON over https, in one exchange that the agent
// begins every time. The agent posts a Call to Path and gets an Answer.
//
// The first call of a run carries a Report of the server. The answer carries the Plan for it, once, or none while there is none.
// Every later call carries Progress, and its answer says whether to go on. A capability in the path names the claim; the Plan
// names the server, and an agent on another server does nothing.
//
// Both sides read strictly: what is unknown, too long or out of range is refused as a whole. A plan of which one part is not
// understood must not be carried out in part, so a change of meaning is a new version in the path.
package protocol
