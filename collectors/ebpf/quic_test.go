package ebpf

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

// The keys that the RFCs give as examples, for a connection ID of theirs.
const connectionID = "8394c8f03e515708"

type quicKeys struct {
	version     uint32
	first       byte // of an Initial packet whose number has two bytes
	key, iv, hp string
}

var (
	quic1 = quicKeys{1, 0xc1, "1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "9f50449e04a0e810283a1e9933adedd2"}
	quic2 = quicKeys{0x6b3343cf, 0xd1, "8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f", "45b95e15235d6f45a6b19cbcb0294ba9"}
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// initial protects frames as a client does.
func (k quicKeys) initial(number uint16, frames []byte) []byte {
	frames = append(bytes.Clone(frames), make([]byte, max(0, 1100-len(frames)))...)
	b := binary.BigEndian.AppendUint32([]byte{k.first}, k.version)
	b = append(append(b, 8), unhex(connectionID)...)
	b = append(b, 0, 0)
	length := 2 + len(frames) + 16
	b = append(b, 0x40|byte(length>>8), byte(length))
	at := len(b)
	b = binary.BigEndian.AppendUint16(b, number)
	block, err := aes.NewCipher(unhex(k.key))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	nonce := unhex(k.iv)
	nonce[10] ^= b[at]
	nonce[11] ^= b[at+1]
	b = aead.Seal(b, nonce, frames, bytes.Clone(b))
	hp, err := aes.NewCipher(unhex(k.hp))
	if err != nil {
		panic(err)
	}
	mask := make([]byte, 16)
	hp.Encrypt(mask, b[at+4:at+20])
	b[0] ^= mask[0] & 0x0f
	b[at] ^= mask[1]
	b[at+1] ^= mask[2]
	return b
}

func cryptoFrame(offset int, data []byte) []byte {
	b := []byte{6, 0x40 | byte(offset>>8), byte(offset), 0x40 | byte(len(data)>>8), byte(len(data))}
	return append(b, data...)
}

// quicHello is the ClientHello of the standard library's TLS for QUIC.
func quicHello(name string) ([]byte, error) {
	c := tls.QUICClient(&tls.QUICConfig{TLSConfig: &tls.Config{ServerName: name, MinVersion: tls.VersionTLS13}})
	c.SetTransportParameters([]byte{1, 1, 0})
	if err := c.Start(context.Background()); err != nil {
		return nil, err
	}
	for {
		switch e := c.NextEvent(); e.Kind {
		case tls.QUICWriteData:
			return bytes.Clone(e.Data), nil
		case tls.QUICNoEvent:
			return nil, io.ErrUnexpectedEOF
		}
	}
}

// datagrams are a hello in two packets: the second half, then the first.
func (k quicKeys) datagrams(name string) ([][]byte, error) {
	h, err := quicHello(name)
	if err != nil {
		return nil, err
	}
	half := len(h) / 2
	return [][]byte{
		k.initial(1, cryptoFrame(half, h[half:])),
		k.initial(0, append([]byte{1, 2, 0, 0, 0, 0}, cryptoFrame(0, h[:half])...)),
	}, nil
}

func TestQUICTellsItsName(t *testing.T) {
	for _, k := range []quicKeys{quic1, quic2} {
		packets, err := k.datagrams("quic.example")
		if err != nil {
			t.Fatal(err)
		}
		var h heads
		piece := func(b []byte) []saying {
			return h.take(&head{socket: 7, data: b, transport: event.UDP})
		}
		if got := piece(packets[0]); len(got) != 0 {
			t.Errorf("version %x: %+v from the second half", k.version, got)
		}
		got := piece(packets[1])
		if len(got) != 1 || got[0].body.(event.TLSName).Name != "quic.example" {
			t.Errorf("version %x: %+v", k.version, got)
		}
		if len(h.of) != 0 {
			t.Error("a conversation that told its name is kept")
		}
	}
}

func TestWhatIsNoInitialPacketIsRefused(t *testing.T) {
	good := quic1.initial(0, cryptoFrame(0, []byte("x")))
	for i := range good {
		if _, err := openInitial(good[:i]); err == nil {
			t.Fatalf("cut to %d bytes: opened", i)
		}
	}
	changed := bytes.Clone(good)
	changed[len(changed)-1] ^= 1
	if _, err := openInitial(changed); err == nil {
		t.Error("a changed packet was opened")
	}
}

func FuzzOpenInitial(f *testing.F) {
	f.Add(quic1.initial(0, cryptoFrame(0, []byte("x"))))
	f.Add(quic2.initial(3, []byte{2, 0, 0, 1, 0, 0, 0}))
	f.Fuzz(func(_ *testing.T, b []byte) {
		var s handshake
		if plain, err := openInitial(b); err == nil {
			s.frames(plain)
		}
		s.frames(b)
		parseHello(s.front()) // must not panic
	})
}

// actQUIC sends the first packets of QUIC to a server that does not answer.
func actQUIC(out io.Writer) error {
	s, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer s.Close()
	c, err := net.Dial("udp4", s.LocalAddr().String())
	if err != nil {
		return err
	}
	packets, err := quic1.datagrams("Quic.example.com")
	if err != nil {
		return err
	}
	for _, b := range packets {
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
	_, err = io.WriteString(out, s.LocalAddr().String()+"\n")
	return err
}

func testQUIC(b *bench) {
	c := b.run("quic")
	peer := c.line(b.t)
	got := untilBody(b, c.id, func(x event.TLSName) bool { return x.Name == "quic.example.com" })
	if got.Transport != event.UDP || got.Peer.String() != peer || got.Socket == 0 {
		b.t.Errorf("name %+v", got)
	}
}
