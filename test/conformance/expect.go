package main

// expectation is how a fault must come out. Without an entry everything is done all the same.
type expectation struct {
	// operations on the generic persona, in their order; one stands for all.
	operations []string
	// provision and release are those of a life on any persona; "" is done.
	provision, release string
	// except are personas on which a life comes out otherwise: provision, release.
	except map[string][2]string
}

func (e expectation) operation(i int) string {
	switch len(e.operations) {
	case 0:
		return done
	case 1:
		return e.operations[0]
	}
	return e.operations[i]
}

func (e expectation) life(persona string) (provision, release string) {
	if other, ok := e.except[persona]; ok {
		return other[0], other[1]
	}
	return orDone(e.provision), orDone(e.release)
}

func orDone(word string) string {
	if word == "" {
		return done
	}
	return word
}

func expectedOf(fault string) expectation { return expected[fault] }

var expected = map[string]expectation{}
