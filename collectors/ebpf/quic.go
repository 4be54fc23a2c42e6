package ebpf

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// The first packets of QUIC are encrypted with a key that everyone on the way
// can derive from the packet itself (RFC 9001, section 5.2).

// A quicVersion has its own salt and labels.
type quicVersion struct {
	number       uint32
	initial      byte // type of an Initial packet
	salt         []byte
	key, iv, hdr string
}

func quicVersions() []quicVersion {
	return []quicVersion{
		{
			1, 0,
			[]byte{0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a},
			"quic key", "quic iv", "quic hp",
		},
		{
			0x6b3343cf, 1,
			[]byte{0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9},
			"quicv2 key", "quicv2 iv", "quicv2 hp",
		},
	}
}

var errNotInitial = errors.New("not an Initial packet of QUIC")

// quic takes in a datagram and tells the name when the ClientHello is whole.
func (h *heads) quic(c *conversation, p *head) []saying {
	if c.read {
		return nil
	}
	plain, err := openInitial(p.data)
	if err != nil {
		return nil
	}
	if c.pieces == nil {
		c.pieces = new(handshake)
	}
	c.pieces.frames(plain)
	hello, l := parseHello(c.pieces.front())
	if l != whole {
		return nil
	}
	c.read = true
	delete(h.of, p.socket)
	return []saying{c.named(p, hello, false)}
}

// openInitial decrypts the Initial packet of a client at the front of a
// datagram and gives its frames.
func openInitial(b []byte) ([]byte, error) {
	if len(b) < 7 || b[0]&0xc0 != 0xc0 {
		return nil, errNotInitial
	}
	for _, v := range quicVersions() {
		if binary.BigEndian.Uint32(b[1:]) == v.number && b[0]>>4&3 == v.initial {
			return v.open(b)
		}
	}
	return nil, errNotInitial
}

func (v quicVersion) open(b []byte) ([]byte, error) {
	c := cursor{b: b}
	c.skip(5)
	id := c.vector8()
	c.vector8() // the client's own
	c.skip(varint(&c))
	length := varint(&c)
	at := len(b) - len(c.b) // of the packet number
	if c.short || len(id) > 20 || length < 4+16 || length > len(c.b) {
		return nil, errNotInitial
	}
	key, iv, mask, err := v.keys(id)
	if err != nil {
		return nil, err
	}
	var m [16]byte
	mask.Encrypt(m[:], b[at+4:at+4+16])
	header := bytes.Clone(b[:at+4])
	header[0] ^= m[0] & 0x0f
	n := int(header[0]&3) + 1 // bytes of the packet number
	for i := range n {
		header[at+i] ^= m[1+i]
	}
	header = header[:at+n]
	for i := range n {
		iv[len(iv)-n+i] ^= header[at+i]
	}
	return key.Open(nil, iv, b[at+n:at+length], header)
}

// keys derives what a client's Initial packets are protected with.
func (v quicVersion) keys(id []byte) (key cipher.AEAD, iv []byte, mask cipher.Block, err error) {
	secret, err := hkdf.Extract(sha256.New, id, v.salt)
	if err != nil {
		return nil, nil, nil, err
	}
	client, err := expand(secret, "client in", sha256.Size)
	if err != nil {
		return nil, nil, nil, err
	}
	k, err := expand(client, v.key, 16)
	if err != nil {
		return nil, nil, nil, err
	}
	if iv, err = expand(client, v.iv, 12); err != nil {
		return nil, nil, nil, err
	}
	hp, err := expand(client, v.hdr, 16)
	if err != nil {
		return nil, nil, nil, err
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, nil, nil, err
	}
	if mask, err = aes.NewCipher(hp); err != nil {
		return nil, nil, nil, err
	}
	key, err = cipher.NewGCM(block)
	return key, iv, mask, err
}

// expand is HKDF-Expand-Label of TLS 1.3, without a context.
func expand(secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	info := append([]byte{byte(n >> 8), byte(n), byte(len(label))}, label...)
	return hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
}

// varint reads a number of QUIC's variable length.
func varint(c *cursor) int {
	first := c.skip(1)
	if first == nil {
		return 0
	}
	n := int(first[0] & 0x3f)
	for _, b := range c.skip(1<<(first[0]>>6) - 1) {
		if n = n<<8 | int(b); n > 1<<30 {
			c.short = true
			return 0
		}
	}
	return n
}

// A handshake is the beginning of the stream that QUIC carries TLS in, which
// comes in pieces of any order.
type handshake struct {
	data [maxHead]byte
	have [maxHead / 8]byte // a bit for each byte that is there
}

// frames takes the pieces out of a packet. What is not a frame that an Initial
// packet of a client may have ends it.
func (s *handshake) frames(b []byte) {
	const (
		padding = 0
		ping    = 1
		ack     = 2
		ackECN  = 3
		crypt   = 6
	)
	for c := (cursor{b: b}); !c.short && len(c.b) > 0; {
		switch varint(&c) {
		case padding, ping:
		case ack:
			skipAck(&c)
		case ackECN:
			skipAck(&c)
			for range 3 {
				varint(&c)
			}
		case crypt:
			offset := varint(&c)
			data := c.skip(varint(&c))
			for i, x := range data {
				if at := offset + i; at < maxHead {
					s.data[at] = x
					s.have[at/8] |= 1 << (at % 8)
				}
			}
		default:
			return
		}
	}
}

func skipAck(c *cursor) {
	varint(c)
	varint(c)
	n := varint(c)
	varint(c)
	for ; n > 0 && !c.short; n-- {
		varint(c)
		varint(c)
	}
}

// front is what is there without a gap.
func (s *handshake) front() []byte {
	for i := range s.data {
		if s.have[i/8]&(1<<(i%8)) == 0 {
			return s.data[:i]
		}
	}
	return s.data[:]
}
