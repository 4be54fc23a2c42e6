package rules

import (
	"math/bits"
	"strings"
)

// A scanner finds which of many texts a text begins with, ends with or contains,
// in one pass over it, whatever their number: four bytes of each are looked up at
// every place.
type scanner struct {
	of     *text
	fold   bool
	hint   [1 << 10]uint64 // a bit for each hash of the four bytes of some needle
	at     map[uint32][]*needle
	others []*needle // too short, or with the same bytes as too many
	longS  bool      // some rule wants texts in which ſ is an s
	known  map[needleKey]*needle
}

type needleKey struct {
	how  how
	text string
}

// A needle is a text to find, and the rules that want it.
type needle struct {
	needleKey
	before int // bytes of it that are in front of the four
	rules  []int
}

// crowd is how many needles may have the same four bytes.
const crowd = 8

func newScanner(of *text, fold bool) *scanner {
	return &scanner{of: of, fold: fold, at: map[uint32][]*needle{}, known: map[needleKey]*needle{}}
}

func (s *scanner) add(key needleKey, rule int) {
	n := s.known[key]
	if n == nil {
		n = &needle{needleKey: key}
		s.known[key] = n
		s.place(n)
	}
	n.rules = append(n.rules, rule)
}

// place looks the needle up by those of its bytes that the fewest others have.
func (s *scanner) place(n *needle) {
	best, fewest := -1, crowd
	for i := len(n.text) - 4; i >= 0; i-- {
		if c := len(s.at[four(n.text, i)]); c < fewest {
			best, fewest = i, c
		}
	}
	if best < 0 {
		s.others = append(s.others, n)
		return
	}
	n.before = best
	w := four(n.text, best)
	s.at[w] = append(s.at[w], n)
	h := hash(w)
	s.hint[h>>6] |= 1 << (h & 63)
}

func four(s string, i int) uint32 {
	return uint32(s[i]) | uint32(s[i+1])<<8 | uint32(s[i+2])<<16 | uint32(s[i+3])<<24
}

func hash(w uint32) uint32 { return w * 2654435761 >> 16 }

// scan marks the rules whose texts are found.
func (s *scanner) scan(m marks) {
	t := s.of.get(s.fold)
	s.find(t, m)
	if s.longS && strings.Contains(t, longS) {
		s.find(strings.ReplaceAll(t, longS, "s"), m)
	}
}

func (s *scanner) find(t string, m marks) {
	for _, n := range s.others {
		if n.found(t) {
			m.set(n.rules)
		}
	}
	if len(t) < 4 {
		return
	}
	w := four(t, 0) << 8
	for i := 3; i < len(t); i++ {
		if i == 3 {
			w = four(t, 0)
		} else {
			w = w>>8 | uint32(t[i])<<24
		}
		if h := hash(w); s.hint[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		for _, n := range s.at[w] {
			if n.foundAt(t, i-3) {
				m.set(n.rules)
			}
		}
	}
}

func (n *needle) found(t string) bool {
	switch n.how {
	case starts:
		return strings.HasPrefix(t, n.text)
	case ends:
		return strings.HasSuffix(t, n.text)
	}
	return strings.Contains(t, n.text)
}

// foundAt reports whether the needle is in t with its four bytes at i.
func (n *needle) foundAt(t string, i int) bool {
	from := i - n.before
	return from >= 0 && strings.HasPrefix(t[from:], n.text) &&
		(n.how != starts || from == 0) && (n.how != ends || from+len(n.text) == len(t))
}

// marks is a set of rules by their numbers.
type marks []uint64

func (m marks) set(rules []int) {
	for _, r := range rules {
		m[r>>6] |= 1 << (r & 63)
	}
}

// all gives the numbers in their order.
func (m marks) all(yield func(int) bool) {
	for i, word := range m {
		for ; word != 0; word &= word - 1 {
			if !yield(i<<6 + bits.TrailingZeros64(word)) {
				return
			}
		}
	}
}
