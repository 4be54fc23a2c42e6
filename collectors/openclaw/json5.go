package openclaw

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// toJSON rewrites what people write into openclaw.json (JSON5: comments, bare
// keys, single quotes, trailing commas) as JSON. It does not judge: what it
// does not understand it passes on, and the JSON parser refuses it.
func toJSON(src []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(src))
	for i := 0; i < len(src); {
		switch c := src[i]; {
		case c == '"' || c == '\'':
			n := quotedLen(src[i:])
			writeString(&out, src[i:i+n])
			i += n
		case c == '/' && i+1 < len(src) && (src[i+1] == '/' || src[i+1] == '*'):
			i += commentLen(src[i:])
			out.WriteByte(' ')
		case c == '}' || c == ']':
			trimComma(&out)
			out.WriteByte(c)
			i++
		case isWord(c):
			n := 1
			for i+n < len(src) && isWord(src[i+n]) {
				n++
			}
			writeWord(&out, string(src[i:i+n]))
			i += n
		default:
			out.WriteByte(c)
			i++
		}
	}
	return out.Bytes()
}

// quotedLen is the length of the string that b begins with, quotes included.
func quotedLen(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case b[0]:
			return i + 1
		}
	}
	return len(b)
}

// commentLen is the length of the comment that b begins with.
func commentLen(b []byte) int {
	end := []byte("\n")
	if b[1] == '*' {
		end = []byte("*/")
	}
	if n := bytes.Index(b[2:], end); n >= 0 {
		return 2 + n + len(end)
	}
	return len(b)
}

// writeString writes a quoted string with JSON's quotes and escapes.
func writeString(out *bytes.Buffer, s []byte) {
	out.WriteByte('"')
	body := s[1:max(1, len(s)-1)]
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case c == '\\' && i+1 < len(body):
			i++
			switch body[i] {
			case '\n': // a line goes on
			case '\'':
				out.WriteByte('\'')
			default:
				out.Write(body[i-1 : i+1])
			}
		case c == '"':
			out.WriteString(`\"`)
		default:
			out.WriteByte(c)
		}
	}
	out.WriteByte('"')
}

// trimComma takes back a comma that nothing follows.
func trimComma(out *bytes.Buffer) {
	trimmed := bytes.TrimRight(out.Bytes(), " \t\r\n")
	if bytes.HasSuffix(trimmed, []byte{','}) {
		out.Truncate(len(trimmed) - 1)
	}
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_$+-.", c) >= 0 || c >= 0x80
}

// writeWord writes a literal or number as it is, and quotes a bare key.
func writeWord(out *bytes.Buffer, w string) {
	if json.Valid([]byte(w)) {
		out.WriteString(w)
		return
	}
	if n, err := strconv.ParseInt(w, 0, 64); err == nil { // 0x1F, +3
		out.WriteString(strconv.FormatInt(n, 10))
		return
	}
	q, _ := json.Marshal(w)
	out.Write(q)
}
