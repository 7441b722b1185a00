// Package selection says what a plan means on a server: whether it is for this server at all, which disk is written, and which
// ones are erased. It is pure: a plan and a report in, a choice or a refusal out.
//
// It errs to one side. A disk that somebody asked to keep is never touched, whichever path leads to it; a disk that cannot be
// told from another is not written; and an erasure that would leave a disk out is refused before it begins, unless the plan
// names the disk as one to keep.
package selection
