package sensitive

import (
	"slices"
	"strconv"
	"strings"
)

// issuers are the numbers that cards begin with, and how long such cards'
// numbers are.
var issuers = []struct {
	from, to string // of the same length
	lengths  []int
}{
	{"4", "4", []int{16}},           // Visa
	{"51", "55", []int{16}},         // Mastercard
	{"2221", "2720", []int{16}},     // Mastercard
	{"34", "34", []int{15}},         // American Express
	{"37", "37", []int{15}},         // American Express
	{"6011", "6011", []int{16}},     // Discover
	{"644", "649", []int{16}},       // Discover
	{"65", "65", []int{16}},         // Discover
	{"300", "305", []int{14}},       // Diners Club
	{"36", "36", []int{14}},         // Diners Club
	{"38", "39", []int{14}},         // Diners Club
	{"3528", "3589", []int{16}},     // JCB
	{"62", "62", []int{16, 17, 19}}, // UnionPay
}

// layouts are how a card's number is printed.
var layouts = [][]int{{4, 4, 4, 4}, {4, 6, 5}, {4, 6, 4}, {4, 4, 4, 4, 3}}

// card gives the length of the card's number that s begins with, or 0.
func card(s string) int {
	n := run(s, 19)
	if n != 4 {
		if !isCard(s[:n]) {
			return 0
		}
		return n
	}
	for _, layout := range layouts {
		if whole := grouped(s, layout...); whole > 0 && isCard(Canonical(s[:whole])) {
			return whole
		}
	}
	return 0
}

func isCard(digits string) bool {
	for _, i := range issuers {
		if slices.Contains(i.lengths, len(digits)) && digits[:len(i.from)] >= i.from && digits[:len(i.to)] <= i.to {
			return luhn(digits)
		}
	}
	return false
}

// luhn reports whether the last digit is the check digit of those before.
func luhn(digits string) bool {
	sum := 0
	for i := range len(digits) {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// neverSSN are numbers that were printed in advertisements and belong to nobody.
var neverSSN = []string{"078051120", "219099999"}

// ssn gives the length of the social security number that begins at i, or 0.
func ssn(s string, i int) int {
	n := run(s[i:], 9)
	if n == 3 {
		n = grouped(s[i:], 3, 2, 4)
	}
	if n < 9 {
		return 0
	}
	number := Canonical(s[i : i+n])
	if len(number) != 9 {
		return 0
	}
	area, group, serial := number[:3], number[3:5], number[5:]
	if area == "000" || area == "666" || area[0] == '9' || group == "00" || serial == "0000" || slices.Contains(neverSSN, number) {
		return 0
	}
	if s[i+3] != '-' && !spokenOf(s[:i]) {
		return 0
	}
	return n
}

// spokenOf reports whether the words before a number call it a social security
// number.
func spokenOf(before string) bool {
	const look = 32
	before = strings.ToLower(before[max(0, len(before)-look):])
	return strings.Contains(before, "ssn") || strings.Contains(before, "social security") || strings.Contains(before, "social_security")
}

// ibans are the countries that have IBANs, each with the length of one.
const ibans = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28" +
	"HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25" +
	"QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30"

// iban gives the length of the IBAN that s begins with, or 0.
func iban(s string) int {
	if len(s) < 15 || !isUpper(s[1]) || !isDigit(s[2]) || !isDigit(s[3]) {
		return 0
	}
	want := 0
	for i := 0; i < len(ibans); i += 4 {
		if ibans[i:i+2] == s[:2] {
			want, _ = strconv.Atoi(ibans[i+2 : i+4])
			break
		}
	}
	if want == 0 {
		return 0
	}
	// Groups of four, or none: a blank after the first group means one after each.
	blanks := s[4] == ' '
	rest, n := 0, 0 // of 97, and bytes read
	read := func(c byte) {
		if isDigit(c) {
			rest = (rest*10 + int(c-'0')) % 97
		} else {
			rest = (rest*100 + int(c-'A') + 10) % 97
		}
	}
	for got := 0; got < want; got++ {
		if blanks && got > 0 && got%4 == 0 {
			if n >= len(s) || s[n] != ' ' {
				return 0
			}
			n++
		}
		if n >= len(s) || !isDigit(s[n]) && !isUpper(s[n]) {
			return 0
		}
		if got >= 4 {
			read(s[n])
		}
		n++
	}
	for _, c := range []byte(s[:4]) {
		read(c)
	}
	if rest != 1 {
		return 0
	}
	return n
}
