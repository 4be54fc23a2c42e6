package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
)

// version is the number that the author of a rule gives it; 0: none, which is 1.
type version int

func (v *version) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 31)
	if err != nil || n == 0 {
		return errors.New("a version is a whole number from 1")
	}
	*v = version(n)
	return nil
}

// digestLen is how many digits of a SHA-256 tell texts apart.
const digestLen = 16

func digestOf(texts ...string) string {
	h := sha256.New()
	for _, t := range texts {
		h.Write([]byte(t))
	}
	return hex.EncodeToString(h.Sum(nil))[:digestLen]
}

// digestOfSet is that of the files, whatever their names and their order.
func digestOfSet(files []Source) string {
	each := make([]string, len(files))
	for i, f := range files {
		sum := sha256.Sum256(f.Data)
		each[i] = string(sum[:])
	}
	slices.Sort(each)
	return digestOf(each...)
}

// digests gives the rules of one file the digests of their texts: each from its first
// key to the first of the next rule.
func digests(f Source, all []rule) {
	lines := strings.Split(string(f.Data), "\n")
	starts := make([]int, 0, len(lines)+1)
	for i, at := 0, 0; i < len(lines); i++ {
		starts = append(starts, at)
		at += len(lines[i]) + 1
	}
	offset := func(p yamlfile.Pos) int {
		if p.Line < 1 || p.Line > len(starts) {
			return len(f.Data)
		}
		return min(starts[p.Line-1]+max(p.Column-1, 0), len(f.Data))
	}
	for i := range all {
		from, to := offset(all[i].At), len(f.Data)
		if i+1 < len(all) {
			to = max(from, offset(all[i+1].At))
		}
		all[i].digest = digestOf(strings.TrimRight(string(f.Data[from:to]), " \t\r\n-{"))
	}
}
