package otlp

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"

	"github.com/clawwatch/clawwatch/internal/event"
)

const scopeName = "github.com/clawwatch/clawwatch"

// newLogs gives logs with the resource and no records, and where records go.
func newLogs(resource map[string]string) (plog.Logs, plog.LogRecordSlice) {
	logs := plog.NewLogs()
	rl := logs.ResourceLogs().AppendEmpty()
	for _, k := range slices.Sorted(maps.Keys(resource)) {
		attributes{rl.Resource().Attributes()}.str(k, resource[k])
	}
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName(scopeName)
	sl.Scope().SetVersion(resource["service.version"])
	return logs, sl.LogRecords()
}

// putRecord makes dst the log record of r.
func putRecord(dst plog.LogRecord, r *event.Record, now time.Time) {
	a := start(dst, "clawwatch."+string(r.Kind), r.ID, r.Time, now)
	dst.SetSeverityNumber(plog.SeverityNumberInfo)
	dst.SetSeverityText("INFO")
	dst.Body().SetStr(clip(summary(r), maxValue))
	a.str("clawwatch.source", string(r.Source))
	a.yes("clawwatch.stranger", r.Stranger)
	putProcess(a, r.Process)
	putFile(a, r.File)
	putNetwork(a, r.Network)
	putDNS(a, r.DNS)
	putEnv(a, r.Env)
	putAccess(a, r.Access)
	a.str("clawwatch.call", r.Call)
	putLLM(a, r.LLM)
	putTool(a, r.Tool)
	putSensitive(a, r.Sensitive)
	putEffects(a, r.Effects)
	putSession(a, r.Session)
	putSkillChange(a, r.Skill)
	putSensor(a, r.Sensor)
	putAttribution(a, r.Attribution)
}

// putAlert makes dst the log record of al.
func putAlert(dst plog.LogRecord, al *event.Alert, now time.Time) {
	a := start(dst, "clawwatch.alert", al.ID, al.Time, now)
	dst.SetSeverityNumber(severity(al.Rule.Severity))
	dst.SetSeverityText(clip(string(al.Rule.Severity), maxValue))
	dst.Body().SetStr(clip(al.Message, maxValue))
	a.str("security_rule.name", al.Rule.Name)
	if al.Rule.Version > 0 {
		a.str("security_rule.version", strconv.Itoa(al.Rule.Version))
	}
	a.str("clawwatch.rule.digest", al.Rule.Digest)
	a.str("clawwatch.ruleset.digest", al.Rule.Ruleset)
	a.strs("clawwatch.rule.tags", al.Rule.Tags)
	a.strs("clawwatch.alert.events", al.Events)
	a.PutInt("clawwatch.alert.count", int64(al.Count))
	a.num("clawwatch.alert.suppressed", int64(al.Suppressed))
	putProcess(a, al.Process)
	putAttribution(a, al.Attribution)
}

func start(dst plog.LogRecord, name, id string, at, now time.Time) attributes {
	dst.SetEventName(clip(name, maxValue))
	if !at.IsZero() {
		dst.SetTimestamp(pcommon.NewTimestampFromTime(at))
	}
	dst.SetObservedTimestamp(pcommon.NewTimestampFromTime(now))
	a := attributes{dst.Attributes()}
	a.EnsureCapacity(24)
	a.str("event.name", name) // again: not every store keeps the field
	a.str("event.id", id)
	return a
}

func severity(s event.Severity) plog.SeverityNumber {
	switch s {
	case event.Low:
		return plog.SeverityNumberWarn
	case event.Medium:
		return plog.SeverityNumberWarn3
	case event.High:
		return plog.SeverityNumberError
	case event.Critical:
		return plog.SeverityNumberFatal
	default:
		return plog.SeverityNumberInfo
	}
}

// summary is one line for a person: what happened, and to what.
func summary(r *event.Record) string {
	object := ""
	switch {
	case r.File != nil:
		object = r.File.Path
	case r.Network != nil:
		object = endpoint(r.Network)
	case r.DNS != nil:
		object = r.DNS.Name
	case r.Env != nil:
		object = fmt.Sprintf("%s, %d names", r.Env.Method, len(r.Env.Names))
	case r.Access != nil:
		object = string(r.Access.Method)
		if t := r.Access.Target; t != nil {
			object += " " + strconv.Itoa(int(t.PID))
		}
	case r.LLM != nil:
		object = r.LLM.Provider + "/" + r.LLM.Model
	case r.Tool != nil:
		object = r.Tool.Name
	case r.Skill != nil:
		object = r.Skill.ID.Name
	case r.Session != nil:
		object = r.Session.Key
	case r.Sensor != nil && r.Sensor.Lost > 0:
		object = fmt.Sprintf("%d %s: %s", r.Sensor.Lost, r.Sensor.Of, r.Sensor.Reason)
	case r.Sensor != nil:
		object = r.Sensor.Probe + " " + r.Sensor.Fidelity
	case r.Process != nil && r.Process.Executable != nil:
		object = r.Process.Executable.Path
	}
	if object == "" {
		return string(r.Kind)
	}
	return string(r.Kind) + " " + object
}

// endpoint is the peer, or for what has none the socket.
func endpoint(n *event.Network) string {
	switch {
	case n.PeerPort != 0:
		return net.JoinHostPort(host(n), strconv.Itoa(int(n.PeerPort)))
	case n.PeerAddress != "":
		return n.PeerAddress
	case n.LocalPort != 0:
		return net.JoinHostPort(n.LocalAddress, strconv.Itoa(int(n.LocalPort)))
	case n.LocalAddress != "":
		return n.LocalAddress
	}
	return strings.TrimSpace(n.Family + " " + n.SocketType)
}

// host is the peer by name where that is known for sure, else by address.
func host(n *event.Network) string {
	if h := n.Vouched(); h != "" {
		return h
	}
	return n.PeerAddress
}

// Bounds of one queue entry: what a server without settings of its own takes.
const (
	maxEntryItems = 100
	maxEntryBytes = 512 << 10 // not compressed
)

// encode gives requests, as OTLP protobuf, for n log records, each within the
// bounds of an entry unless one record alone is over them. Put makes a log
// record of the i-th.
//
// Requests can be joined by appending their bytes: in protobuf, that is how
// repeated fields are joined.
func encode(resource map[string]string, n int, put func(dst plog.LogRecord, i int)) ([]entry, error) {
	var entries []entry
	for from := 0; from < n; {
		count := min(n-from, maxEntryItems)
		for {
			e, err := encodeOne(resource, from, count, put)
			if err != nil {
				return nil, err
			}
			if len(e.data) <= maxEntryBytes || count == 1 {
				entries = append(entries, e)
				break
			}
			count = (count + 1) / 2
		}
		from += count
	}
	return entries, nil
}

type entry struct {
	data  []byte
	items int
}

func encodeOne(resource map[string]string, from, count int, put func(plog.LogRecord, int)) (entry, error) {
	logs, records := newLogs(resource)
	records.EnsureCapacity(count)
	for i := from; i < from+count; i++ {
		put(records.AppendEmpty(), i)
	}
	data, err := plogotlp.NewExportRequestFromLogs(logs).MarshalProto()
	if err != nil {
		return entry{}, fmt.Errorf("encode log records: %w", err)
	}
	return entry{data: data, items: count}, nil
}
