package sensitive

import (
	"slices"
	"strings"
	"testing"
)

// Numbers that are right and belong to nobody: of test cards that the issuers
// publish, of examples in the registry of IBANs, and made up.
const (
	aCard = "4111" + "111111111111"
	anSSN = "536-22-" + "1847"
	ofGB  = "GB82WEST" + "12345698765432"
)

func TestNumbersThatAre(t *testing.T) {
	tests := []struct{ kind, text, want string }{
		{Card, "pay with " + aCard, aCard},
		{Card, `{"card":` + aCard + `}`, aCard},
		{Card, "card=" + aCard + "&cvc=1", aCard},
		{Card, "4111 1111 1111 1111 12/27", "4111 1111 1111 1111"},
		{Card, "(4111-1111-1111-1111)", "4111-1111-1111-1111"},
		{Card, "It is 5555555555554444.", "5555555555554444"},
		{Card, "2223003122003222", "2223003122003222"},
		{Card, "378282246310005, please", "378282246310005"},
		{Card, "3782 822463 10005", "3782 822463 10005"},
		{Card, "6011111111111117", "6011111111111117"},
		{Card, "30569309025904", "30569309025904"},
		{Card, "3056 930902 5904", "3056 930902 5904"},
		{Card, "3530111333300000", "3530111333300000"},
		{Card, "6200000000000005", "6200000000000005"},
		{Card, `echo "a\n` + aCard + `\n"`, aCard},
		{Card, `"Card:\n` + aCard + `"`, aCard},
		{Card, "“" + aCard + "”", aCard},
		{SSN, "ssn " + anSSN, anSSN},
		{SSN, "she is " + anSSN + ", they say", anSSN},
		{SSN, "SSN: 536221847", "536221847"},
		{SSN, "Social Security number is 536 22 1847", "536 22 1847"},
		{SSN, `{"social_security":"536221847"}`, "536221847"},
		{IBAN, "to " + ofGB + " today", ofGB},
		{IBAN, "GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 32"},
		{IBAN, "DE89370400440532013000.", "DE89370400440532013000"},
		{IBAN, "NO93 8601 1117 947", "NO93 8601 1117 947"},
		{IBAN, "MT84MALT011000012345MTLCAST001S", "MT84MALT011000012345MTLCAST001S"},
	}
	for _, tt := range tests {
		found := Find(tt.text)
		if len(found) != 1 || found[0].Type != tt.kind || tt.text[found[0].From:found[0].To] != tt.want {
			t.Errorf("%q: found %v, want %s", tt.text, found, tt.want)
		}
	}
	if found := Find(aCard + " " + anSSN + "\n" + ofGB); len(found) != 3 {
		t.Errorf("of three found %v", found)
	}
}

func TestNumbersThatAreNot(t *testing.T) {
	for what, text := range map[string]string{
		"check digit of a card":          "4111111111111112",
		"no issuer":                      "1234567812345670",
		"too short, right by Luhn":       "411111111111116",
		"a bar code":                     "4006381333931",
		"longer":                         aCard + "0",
		"in a word":                      "x" + aCard,
		"in a hash":                      "a" + aCard + "bcdef01234567890123456789012345",
		"in a UUID":                      "41111111-1111-4111-8111-111111111111",
		"end of a UUID":                  "3f2504e0-4111-1111-1111-4111111111111111",
		"a fraction":                     "0." + aCard,
		"with a fraction":                aCard + ".5",
		"an ID in a path":                "/orders/" + aCard,
		"microseconds since 1970":        "1764530000123456",
		"nanoseconds since 1970":         "1764530000123456789",
		"a date and time":                "20261130195346",
		"groups of other sizes":          "41111 111 1111 1111",
		"mixed separators":               "4111-1111 1111-1111",
		"two blanks":                     "4111  1111 1111 1111",
		"a snowflake":                    "1159412387412344832",
		"SSN, area 000":                  "000-12-3456",
		"SSN, area 666":                  "666-12-3456",
		"SSN, area 9xx":                  "912-34-5678",
		"SSN, group 00":                  "123-00-6789",
		"SSN, serial 0000":               "123-45-0000",
		"SSN of an advertisement":        "078-05-1120",
		"nine digits":                    "536221847",
		"nine digits with blanks":        "536 22 1847",
		"a telephone number":             "+1 536-221-1847",
		"part of a longer one":           "1-536-22-1847",
		"with a tail":                    anSSN + "-1",
		"ISO date":                       "2026-11-30",
		"IBAN with a wrong digit":        "GB82WEST12345698765433",
		"IBAN of no country":             "ZZ82WEST12345698765432",
		"IBAN too long":                  ofGB + "1",
		"IBAN in lower case":             strings.ToLower(ofGB),
		"IBAN in base64":                 "A" + ofGB,
		"IBAN with blanks out of place":  "GB82 WES T123 4569 8765 432",
		"IBAN cut":                       ofGB[:20],
		"a hexadecimal digest":           "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"a version":                      "1.26.0",
		"an address":                     "192.0.2.1:41111",
		"mark of what was taken already": "[redacted:payment-card:41111111]",
		"nothing":                        "",
	} {
		if found := Find(text); len(found) > 0 {
			t.Errorf("%s: %q is taken for %v", what, text, found)
		}
	}
}

func TestOneNumberIsTheSameHoweverItIsWritten(t *testing.T) {
	if Canonical("4111-1111-1111-1111") != aCard || Canonical("GB82 WEST 1234 5698 7654 32") != ofGB {
		t.Error("separators are left")
	}
}

func TestExpressionsThatAreRefused(t *testing.T) {
	for _, text := range []string{"", " ", "(", "a{2000}", `a*`, `a?|b`, `(?:)`, `\b`, `^$`, `(a|)`, `(a*b?)+`, `a{0,3}`, `[z-a]`, `(?=a)b`, "\bEMP", strings.Repeat("a", 2000)} {
		if _, err := Expression(text); err == nil {
			t.Errorf("%.20q is accepted", text)
		}
	}
	for _, text := range []string{`a`, `\bEMP-\d{6}\b`, `(?i)project\s+falcon`, `a+`, `^x`, `(?:a|b)?c`, `.`} {
		if _, err := Expression(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, name := range []string{"", "A", "a b", "-a", "a]", strings.Repeat("a", 100)} {
		if CheckName(name) == nil {
			t.Errorf("the name %q is accepted", name)
		}
	}
}

func pattern(t testing.TB, name, text string) Pattern {
	t.Helper()
	re, err := Expression(text)
	if err != nil {
		t.Fatal(err)
	}
	return NewPattern(name, re)
}

func TestWhatMatchesTooOftenIsOneMatchToTheEnd(t *testing.T) {
	p := pattern(t, "employee", `\bEMP-\d{4}\b`)
	if got := p.Find("of EMP-1234, EMP-12345 and EMP-0001"); !slices.Equal(got, []Span{{"employee", 3, 11}, {"employee", 27, 35}}) {
		t.Errorf("found %v", got)
	}
	text := strings.Repeat("EMP-1234 ", 1000)
	if got := p.Find(text); len(got) != maxMatches || got[maxMatches-1].To != len(text) {
		t.Errorf("%d matches", len(got))
	}
}

func FuzzFind(f *testing.F) {
	for _, s := range []string{aCard, anSSN, ofGB, "4111 1111 1111 1111", "ssn 536221847", "GB82 WEST 1234 5698 7654 32", "1 1 1-1-1", "\xff4"} {
		f.Add(s, " ", " ")
	}
	f.Fuzz(func(t *testing.T, s, before, after string) {
		end := 0
		for _, span := range Find(s) {
			if span.From < end || span.To <= span.From || span.To > len(s) || span.To-span.From > 64 {
				t.Fatalf("%q: span %v", s, span)
			}
			end = span.To
			for _, c := range []byte(s[span.From:span.To]) {
				if !isDigit(c) && !isUpper(c) && c != ' ' && c != '-' {
					t.Fatalf("%q: %v", s, span)
				}
			}
		}
		planted := before + "\n" + aCard + "\n" + after
		if !slices.ContainsFunc(Find(planted), func(x Span) bool { return planted[x.From:x.To] == aCard }) {
			t.Errorf("the card in %q is not found", planted)
		}
	})
}

// BenchmarkFind: a megabyte of what is hard to read.
func BenchmarkFind(b *testing.B) {
	for name, unit := range map[string]string{
		"prose": "the quick brown fox jumps over the lazy dog\n", "digits": "4", "groups": "4111 ", "nearly": "4111 1111 1111 1112 ",
		"cards": aCard + " ", "countries": "YE12 ", "nine": "536221847 ",
	} {
		text := strings.Repeat(unit, 1<<20/len(unit))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				Find(text)
			}
		})
	}
}

// BenchmarkPattern: expressions that an operator could write, over a megabyte.
func BenchmarkPattern(b *testing.B) {
	text := strings.Repeat("the quick brown fox jumps over the lazy dog, EMP-12345\n", 1<<20/55)
	for name, expression := range map[string]string{"literal": `EMP-\d{6}`, "border": `\bEMP-\d{6}\b`, "any case": `(?i)\bproject\s+falcon\b`, "greedy": `[a-z ]+,.*x`} {
		p := pattern(b, "x", expression)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				p.Find(text)
			}
		})
	}
}
