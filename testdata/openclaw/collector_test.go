package openclaw_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/testdata/openclaw/truth"
)

// startCollector runs the OpenTelemetry Collector that CLAWWATCH_OTELCOL names
// and returns its endpoint and its file; both empty where none is named.
func startCollector(t *testing.T, dir string) (endpoint, file string) {
	t.Helper()
	bin := os.Getenv("CLAWWATCH_OTELCOL")
	if bin == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs CLAWWATCH_OTELCOL, the path of a collector")
		}
		t.Log("no CLAWWATCH_OTELCOL: delivery is not looked at")
		return "", ""
	}
	file = filepath.Join(dir, "otlp.json")
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	cmd := exec.Command(bin, "-http", addr, "-grpc", fmt.Sprintf("127.0.0.1:%d", freePort(t)), "-file", file)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // an early end is told of by Wait
		if err := cmd.Wait(); err != nil {
			t.Errorf("collector: %v\n%s", err, out.String())
		}
	})
	return "http://" + addr, file
}

// delivered checks that every event and every alert has reached the
// collector's file, under the same ID.
func delivered(t *testing.T, file string, events []truth.Event, alerts []truth.Alert) {
	t.Helper()
	var want []string
	for _, e := range events {
		want = append(want, e.ID)
	}
	for _, a := range alerts {
		want = append(want, a.ID)
	}
	for began := time.Now(); ; time.Sleep(time.Second) { // a file: nothing wakes us
		got, err := received(file)
		var lost []string
		for _, id := range want {
			if got[id] == 0 {
				lost = append(lost, id)
			}
		}
		if err == nil && len(lost) == 0 {
			t.Logf("all %d events and alerts are in the collector's file, which has %d IDs", len(want), len(got))
			return
		}
		if time.Since(began) > 30*time.Second {
			t.Errorf("%d of %d events and alerts did not reach the collector (%v), such as %q", len(lost), len(want), err, lost[:min(5, len(lost))])
			return
		}
	}
}

// received counts the log records of a collector's file by event ID.
func received(file string) (map[string]int, error) {
	type batch struct {
		ResourceLogs []struct {
			ScopeLogs []struct {
				LogRecords []struct {
					Attributes []struct {
						Key   string `json:"key"`
						Value struct {
							String json.RawMessage `json:"stringValue"`
						} `json:"value"`
					} `json:"attributes"`
				} `json:"logRecords"`
			} `json:"scopeLogs"`
		} `json:"resourceLogs"`
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	whole := text[:bytes.LastIndexByte(text, '\n')+1] // the last line may be half written
	batches, err := truth.Decode[batch](bytes.NewReader(whole))
	if err != nil {
		return nil, err
	}
	ids := map[string]int{}
	for _, b := range batches {
		for _, r := range b.ResourceLogs {
			for _, s := range r.ScopeLogs {
				for _, l := range s.LogRecords {
					for _, a := range l.Attributes {
						var id string
						if a.Key == "event.id" && json.Unmarshal(a.Value.String, &id) == nil {
							ids[id]++
						}
					}
				}
			}
		}
	}
	return ids, nil
}

// The line is what the file exporter writes, shortened.
func TestReceivedCountsEventIDs(t *testing.T) {
	const line = `{"resourceLogs":[{"resource":{},"scopeLogs":[{"scope":{},"logRecords":[` +
		`{"attributes":[{"key":"n","value":{"intValue":"3"}},{"key":"event.id","value":{"stringValue":"a"}}],"eventName":"clawwatch.file.open"},` +
		`{"attributes":[{"key":"event.id","value":{"stringValue":"b"}}]}]}]}]}` + "\n"
	file := filepath.Join(t.TempDir(), "otlp.json")
	put(t, file, line+line+`{"resourceLogs":[{"half":`, 0o600)
	got, err := received(file)
	if err != nil || len(got) != 2 || got["a"] != 2 || got["b"] != 2 {
		t.Errorf("got %v, %v; want a and b twice", got, err)
	}
}
