package otlp

import (
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// Bounds of attribute values, in bytes and elements: what a skill can name is
// as long as it likes.
const (
	maxValue    = 4 << 10
	maxText     = 16 << 10 // commands, prompts, answers
	maxElements = 64
	maxSlice    = 16 << 10 // of all elements of one slice
)

// attributes are those of one log record. What is not known is left out: each
// method does nothing with an empty value.
type attributes struct{ pcommon.Map }

func (a attributes) str(key, value string) { a.clipped(key, value, maxValue) }

func (a attributes) text(key, value string) { a.clipped(key, value, maxText) }

func (a attributes) clipped(key, value string, most int) {
	if value != "" {
		a.PutStr(key, clip(value, most))
	}
}

func (a attributes) num(key string, value int64) {
	if value != 0 {
		a.PutInt(key, value)
	}
}

// total sets a number that may be known to be 0.
func (a attributes) total(key string, value *uint64) {
	if value != nil {
		a.PutInt(key, int64(*value))
	}
}

func (a attributes) yes(key string, value bool) {
	if value {
		a.PutBool(key, true)
	}
}

// strs sets a slice of strings, cut after the bounds.
func (a attributes) strs(key string, values []string) {
	if len(values) == 0 {
		return
	}
	slice := a.PutEmptySlice(key)
	slice.EnsureCapacity(min(len(values), maxElements))
	left := maxSlice
	for _, v := range values[:min(len(values), maxElements)] {
		v = clip(v, min(maxValue, left))
		slice.AppendEmpty().SetStr(v)
		if left -= len(v); left <= 0 {
			return
		}
	}
}

// clip gives at most so many bytes of s, as valid UTF-8, which OTLP demands.
func clip(s string, most int) string {
	if len(s) > most {
		for most > 0 && !utf8.RuneStart(s[most]) {
			most--
		}
		s = s[:most]
	}
	if utf8.ValidString(s) {
		return s
	}
	// One byte for each bad one, so that the bound still holds.
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}
