package bootmedia

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
)

// A gzip writer of our own (RFC 1951, RFC 1952), for what goes into the embed area
// of an image: all replicas have to write the same bytes, whatever they were built
// with, and compress/gzip promises the same content only. It is for a megabyte of
// text, not for speed: one search, one table of codes for every block.

const (
	matchLeast, matchMost = 3, 258
	matchReach            = 32 << 10
	matchTries            = 64 // how many places are looked at for the longest
	hashBits              = 15
	blockTokens           = 1 << 15
	codeLengthMost        = 15
)

// token is a byte, or a match of a length (3..258) at a distance.
type token struct{ length, distance, literal uint16 }

// packed is data in gzip's format, without a name or a time.
func packed(data []byte) []byte {
	w := bitWriter{out: []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}}
	tokens := tokensOf(data)
	for first := true; first || len(tokens) > 0; first = false {
		n := min(len(tokens), blockTokens)
		w.block(tokens[:n], n == len(tokens))
		tokens = tokens[n:]
	}
	w.flush()
	w.out = binary.LittleEndian.AppendUint32(w.out, crc32.ChecksumIEEE(data))
	return binary.LittleEndian.AppendUint32(w.out, uint32(len(data)))
}

// tokensOf splits data, always taking the longest match of those that are tried,
// and of equals the nearest.
func tokensOf(data []byte) []token {
	var out []token
	head := make([]int32, 1<<hashBits) // last place + 1
	before := make([]int32, len(data))
	hash := func(i int) uint32 {
		return (uint32(data[i]) | uint32(data[i+1])<<8 | uint32(data[i+2])<<16) * 2654435761 >> (32 - hashBits)
	}
	keep := func(i int) {
		if i+matchLeast <= len(data) {
			h := hash(i)
			before[i], head[h] = head[h], int32(i+1)
		}
	}
	for i := 0; i < len(data); {
		length, distance := 0, 0
		if i+matchLeast <= len(data) {
			for at, tries := int(head[hash(i)]), matchTries; at > 0 && i-(at-1) <= matchReach && tries > 0; at, tries = int(before[at-1]), tries-1 {
				if n := alike(data, at-1, i); n > length {
					length, distance = n, i-(at-1)
				}
			}
		}
		if length < matchLeast {
			out = append(out, token{literal: uint16(data[i])})
			length = 1
		} else {
			out = append(out, token{length: uint16(length), distance: uint16(distance - 1)})
		}
		for end := i + length; i < end; i++ {
			keep(i)
		}
	}
	return out
}

func alike(data []byte, a, b int) int {
	n := 0
	for n < matchMost && b+n < len(data) && data[a+n] == data[b+n] {
		n++
	}
	return n
}

// bitWriter writes bits, the lowest first.
type bitWriter struct {
	out  []byte
	acc  uint64
	bits int
}

func (w *bitWriter) put(v uint32, n int) {
	w.acc |= uint64(v) << w.bits
	for w.bits += n; w.bits >= 8; w.bits -= 8 {
		w.out = append(w.out, byte(w.acc))
		w.acc >>= 8
	}
}

func (w *bitWriter) flush() {
	if w.bits > 0 {
		w.put(0, 8-w.bits)
	}
}

const endOfBlock = 256

// block writes tokens with codes made for them.
func (w *bitWriter) block(tokens []token, last bool) {
	var literals [286]int
	var distances [30]int
	literals[endOfBlock] = 1
	for _, t := range tokens {
		if t.length == 0 {
			literals[t.literal]++
			continue
		}
		l, _, _ := lengthCode(t.length)
		d, _, _ := distanceCode(t.distance)
		literals[l]++
		distances[d]++
	}
	// Two codes at least: a code of one has no bits by the book, which not every reader takes.
	distances[0], distances[1] = max(distances[0], 1), max(distances[1], 1)
	lit, dist := codesOf(literals[:]), codesOf(distances[:])
	final := uint32(0)
	if last {
		final = 1
	}
	w.put(final, 1)
	w.put(2, 2)
	w.tables(lit, dist)
	for _, t := range tokens {
		if t.length == 0 {
			w.code(lit[t.literal])
			continue
		}
		l, extra, n := lengthCode(t.length)
		w.code(lit[l])
		w.put(extra, n)
		d, extra, n := distanceCode(t.distance)
		w.code(dist[d])
		w.put(extra, n)
	}
	w.code(lit[endOfBlock])
}

// tables writes the lengths of both codes, each as it is: with fixed code lengths
// for the values 0 to 15 of four bits, which costs 70 bytes more than the best.
func (w *bitWriter) tables(lit, dist []code) {
	w.put(uint32(len(lit)-257), 5)
	w.put(uint32(len(dist)-1), 5)
	order := []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	w.put(uint32(len(order)-4), 4)
	for _, symbol := range order {
		if symbol < 16 {
			w.put(4, 3)
		} else {
			w.put(0, 3)
		}
	}
	for _, c := range slices.Concat(lit, dist) {
		w.code(code{bits: uint32(c.length), length: 4})
	}
}

// code is a Huffman code: bits, the first one highest.
type code struct {
	bits   uint32
	length int
}

func (w *bitWriter) code(c code) {
	for i := c.length - 1; i >= 0; i-- {
		w.put(c.bits>>i&1, 1)
	}
}

// codesOf makes the codes of symbols that occur so often. Those too long for the
// format are made shorter by giving rare symbols more weight than they have.
func codesOf(counts []int) []code {
	counts = slices.Clone(counts)
	for {
		lengths := lengthsOf(counts)
		if slices.Max(lengths) <= codeLengthMost {
			return canonical(lengths)
		}
		for i, n := range counts {
			if n > 0 {
				counts[i] = n/2 + 1
			}
		}
	}
}

// lengthsOf are the depths in Huffman's tree. Of equal weights the one made first
// is taken first, so that equal counts give equal trees.
func lengthsOf(counts []int) []int {
	type knot struct{ weight, left, right int } // of a leaf: -1 and the symbol
	var knots []knot
	var open []int
	for symbol, n := range counts {
		if n > 0 {
			open = append(open, len(knots))
			knots = append(knots, knot{n, -1, symbol})
		}
	}
	for len(open) > 1 {
		slices.SortStableFunc(open, func(a, b int) int {
			if knots[a].weight != knots[b].weight {
				return knots[a].weight - knots[b].weight
			}
			return a - b
		})
		knots = append(knots, knot{knots[open[0]].weight + knots[open[1]].weight, open[0], open[1]})
		open = append(open[2:], len(knots)-1)
	}
	lengths := make([]int, len(counts))
	var walk func(k, depth int)
	walk = func(k, depth int) {
		if knots[k].left < 0 {
			lengths[knots[k].right] = max(depth, 1)
			return
		}
		walk(knots[k].left, depth+1)
		walk(knots[k].right, depth+1)
	}
	walk(open[0], 0)
	return lengths
}

// canonical numbers codes by length and symbol (RFC 1951, 3.2.2).
func canonical(lengths []int) []code {
	out := make([]code, len(lengths))
	next := uint32(0)
	for n := 1; n <= codeLengthMost; n++ {
		for symbol, length := range lengths {
			if length == n {
				out[symbol] = code{next, n}
				next++
			}
		}
		next <<= 1
	}
	return out
}

// lengthCode is the symbol of a match's length, with extra bits (RFC 1951, 3.2.5).
func lengthCode(length uint16) (symbol int, extra uint32, bits int) {
	if length == matchMost {
		return 285, 0, 0
	}
	symbol, extra, bits = graded(uint32(length-matchLeast), 4)
	return 257 + symbol, extra, bits
}

// distanceCode is the symbol of a distance less one.
func distanceCode(distance uint16) (symbol int, extra uint32, bits int) {
	return graded(uint32(distance), 2)
}

// graded is the scale of both: every group of so many symbols has a bit more than
// the one before, but for the first two.
func graded(v uint32, group int) (symbol int, extra uint32, bits int) {
	for base, s := uint32(0), 0; ; s++ {
		bits = max(s/group-1, 0)
		if v < base+1<<bits {
			return s, v - base, bits
		}
		base += 1 << bits
	}
}
