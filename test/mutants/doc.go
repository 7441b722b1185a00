// Command mutants takes the product's guards away, one at a time, and wants the tests to notice each.
//
// A mutant is a patch in testdata/mutants beside the code whose guard it removes; its first line says which. It is applied to a
// copy that only the compiler sees (go test -overlay), so the tree is never touched, and the tests of its package are run as
// anybody runs them: with their own budget. It prints which test found each mutant, and ends with 1 if any survived, cannot
// be applied any more, or does not compile: then guard and patch have drifted apart.
//
//	go run ./mutants            all
//	go run ./mutants fence      those whose name holds the word
//	go run ./mutants -run NoInterleaving      what the model alone finds
//
// Those in test/crash change the product, too, but are to be found by the lives of that package: they show that its witness bites.
//
// It proves nothing about guards for which nobody wrote a mutant.
package main
