package bmcqueue

// heap is a binary heap whose items know their place, so that any item leaves in O(log n). The place is kept in the
// item as index+1, through at: an item's zero value is "not in this heap".
type heap[T any] struct {
	items []T
	less  func(a, b T) bool
	at    func(T) *int
}

func (h *heap[T]) len() int     { return len(h.items) }
func (h *heap[T]) top() T       { return h.items[0] }
func (h *heap[T]) has(x T) bool { return *h.at(x) != 0 }

func (h *heap[T]) push(x T) {
	h.items = append(h.items, x)
	*h.at(x) = len(h.items)
	h.up(len(h.items) - 1)
}

// remove takes x out; an item that is not in is left alone.
func (h *heap[T]) remove(x T) {
	if !h.has(x) {
		return
	}
	i, last := *h.at(x)-1, len(h.items)-1
	h.swap(i, last)
	var zero T
	h.items[last] = zero
	h.items = h.items[:last]
	*h.at(x) = 0
	if i < last && !h.down(i) {
		h.up(i)
	}
}

func (h *heap[T]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	*h.at(h.items[i]), *h.at(h.items[j]) = i+1, j+1
}

func (h *heap[T]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(h.items[i], h.items[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

// down reports whether the item moved.
func (h *heap[T]) down(i int) bool {
	start := i
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h.items); child++ {
			if h.less(h.items[child], h.items[least]) {
				least = child
			}
		}
		if least == i {
			return i != start
		}
		h.swap(i, least)
		i = least
	}
}
