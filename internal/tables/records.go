package tables

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"strings"

	"github.com/clawwatch/clawwatch/internal/api"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

type record = event.Record

// askRecords asks for records of a kind or family, or for one by its ID.
func askRecords(kind string) asker[record] {
	return func(ctx context.Context, c *api.Client, q Query) iter.Seq2[record, error] {
		if q.ID == "" {
			return c.Events(ctx, q.Query, false)
		}
		return func(yield func(record, error) bool) {
			why, err := c.Why(ctx, q.ID)
			switch {
			case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrAmbiguous):
			case err != nil:
				yield(record{}, err)
			case why.Record != nil && within(string(why.Record.Kind), kind):
				yield(*why.Record, nil)
			}
		}
	}
}

// records makes a table of records that all have a part.
func records[P any](name, description, kind string, part func(*record) *P, columns ...column[P]) Table {
	var own []field[record]
	for _, c := range columns {
		own = append(own, field[record]{c.Column, func(r *record) string {
			p := part(r)
			if p == nil {
				return ""
			}
			return c.value(p)
		}})
	}
	t := define(name, description, askRecords(kind), recorded(), own,
		acting(func(r *record) *event.Process { return r.Process }), attributed(func(r *record) *event.Attribution { return r.Attribution }))
	t.Kind = kind
	return t
}

type column[P any] field[P]

func events() Table {
	t := records("clawwatch_events", "Everything that was recorded: one row an event.", "", func(r *record) *record { return r },
		column[record]{Column{"operation", Text, None, "what was done to a file, or the direction of a connection, or the name of a tool, or how a process got at another"}, operation},
		column[record]{Column{"target", Text, None, "what it was done to: a path, a peer, names of variables, a command, a model, a skill, a process"}, target},
		column[record]{Column{"sensitive", Text, None, "process.exec, tool.call and llm.call: types of sensitive data in its texts, with place and digest; a JSON array"}, func(r *record) string {
			lines := make([]string, len(r.Sensitive))
			for i, s := range r.Sensitive {
				lines[i] = s.String()
			}
			return list(lines)
		}})
	t.Examples = []string{
		"SELECT e.datetime, e.kind, e.skill, s.value AS found FROM clawwatch_events e, json_each(e.sensitive) s WHERE e.kind IN ('llm.call', 'tool.call', 'process.exec') AND e.time > strftime('%s', 'now') - 86400;",
		"SELECT kind, count(*) AS n FROM clawwatch_events WHERE time > strftime('%s', 'now') - 600 GROUP BY kind ORDER BY n DESC;",
		"SELECT datetime, skill, confidence, target FROM clawwatch_events WHERE kind = 'process.exec' AND skill = 'weather' AND time > strftime('%s', 'now') - 3600;",
	}
	return t
}

func operation(r *record) string {
	switch {
	case r.File != nil:
		return text(r.File.Operation)
	case r.Network != nil && r.Network.Method != "":
		return text(r.Network.Method)
	case r.Network != nil:
		return text(r.Network.Direction)
	case r.Tool != nil:
		return text(r.Tool.Name)
	case r.Access != nil:
		return text(string(r.Access.Method))
	case r.Call != "":
		return text(r.Call)
	case r.Env != nil:
		return text(string(r.Env.Method))
	}
	return ""
}

func target(r *record) string {
	switch {
	case r.File != nil:
		return text(r.File.Path)
	case r.Kind == event.KindListen:
		return text(endpoint(r.Network.LocalAddress, r.Network.LocalPort))
	case r.Kind == event.KindSocket:
		return text(strings.TrimSpace(r.Network.Family + " " + r.Network.SocketType))
	case r.Kind == event.KindHTTP:
		return text(r.Network.Host + r.Network.URLPath)
	case r.Network != nil:
		return peer(r.Network)
	case r.Access != nil && r.Access.Target != nil:
		return text(strings.TrimSpace(strconv.Itoa(int(r.Access.Target.PID)) + " " + r.Access.Target.Executable))
	case r.Env != nil:
		return text(strings.Join(r.Env.Names, " "))
	case r.Tool != nil:
		return text(strings.TrimSpace(r.Tool.Command + r.Tool.URL + strings.Join(r.Tool.Paths, " ")))
	case r.LLM != nil:
		return text(r.LLM.Provider + "/" + r.LLM.Model)
	case r.Skill != nil:
		return text(r.Skill.ID.Name)
	case r.Session != nil:
		return text(r.Session.Key)
	case r.Gateway != nil:
		return text(r.Gateway.StateDir)
	case r.Sensor != nil:
		return text(r.Sensor.Probe + string(r.Sensor.Of))
	case r.Kind == event.KindExec && r.Process != nil:
		return text(strings.Join(r.Process.CommandArgs, " "))
	}
	return ""
}

func files() Table {
	type p = event.File
	t := records("clawwatch_files", "What was done to files: one row an open, creation, link, renaming, removal or change of attributes, and one for what was read or written in some seconds.", "file.*", func(r *record) *p { return r.File },
		column[p]{Column{"path", Text, None, "of the file"}, func(f *p) string { return text(f.Path) }},
		column[p]{Column{"old_path", Text, None, "of a file that was renamed, exchanged or linked"}, func(f *p) string { return text(f.OldPath) }},
		column[p]{Column{"requested_path", Text, None, "what the program asked to open, where that is not the path"}, func(f *p) string { return text(f.Requested) }},
		column[p]{Column{"target", Text, None, "text of a symbolic link"}, func(f *p) string { return text(f.Target) }},
		column[p]{Column{"operation", Text, None, "read, write, create, path, execute, rename, exchange, delete, link, symlink, truncate or attribute"}, func(f *p) string { return text(f.Operation) }},
		column[p]{Column{"attribute", Text, None, "that was changed: mode, owner, times, xattr, xattr_removed or flags"}, func(f *p) string { return text(f.Attribute) }},
		column[p]{Column{"value", Text, None, "of the attribute, or its name"}, func(f *p) string { return text(f.Value) }},
		column[p]{Column{"bytes_read", BigInt, None, "read since the last row of this process and file"}, func(f *p) string { return optionalBig(f.BytesRead) }},
		column[p]{Column{"bytes_written", BigInt, None, "written since the last row of this process and file"}, func(f *p) string { return optionalBig(f.BytesWritten) }},
		column[p]{Column{"io_uring", Integer, None, "1: asked of io_uring"}, func(f *p) string { return boolean(f.IOUring) }},
		column[p]{Column{"attempted", Integer, None, "1: whether it succeeded is not known"}, func(f *p) string { return boolean(f.Attempted) }},
		column[p]{Column{"directory", Integer, None, "1: it is a directory"}, func(f *p) string { return boolean(f.Directory) }},
		column[p]{Column{"path_truncated", Integer, None, "1: path lost leading components"}, func(f *p) string { return boolean(f.Truncated) }},
		column[p]{Column{"owner", Text, None, "user whose OpenClaw the file belongs to, where a process outside of its trees touched it"}, func(f *p) string { return username(f.Owner) }})
	t.Examples = []string{
		"SELECT datetime, username, executable, operation, path FROM clawwatch_files WHERE time > strftime('%s', 'now') - 3600 AND owner != '';",
		"SELECT datetime, skill, operation, path FROM clawwatch_files WHERE time > strftime('%s', 'now') - 3600 AND path LIKE '%/.ssh/%';",
		"SELECT skill, operation, count(*) AS n FROM clawwatch_files WHERE time > strftime('%s', 'now') - 3600 GROUP BY skill, operation;",
	}
	return t
}

func connections() Table {
	type p = event.Network
	t := records("clawwatch_connections", "Connections: one row for the beginning (network.connect, network.accept), one every two seconds in which it moves something (network.send, with the bytes so far), and one for the end (network.close, with all of them); listening sockets (network.listen) and unusual ones (network.socket).", "network.*", func(r *record) *p { return r.Network },
		column[p]{Column{"transport", Text, None, "tcp, udp, unix or vsock"}, func(n *p) string { return text(string(n.Transport)) }},
		column[p]{Column{"direction", Text, None, "outbound or inbound"}, func(n *p) string { return text(n.Direction) }},
		column[p]{Column{"peer_address", Text, None, "address of the other end; of a Unix socket its path, or @ and its abstract name"}, func(n *p) string { return text(n.PeerAddress) }},
		column[p]{Column{"peer_port", Integer, None, "port of the other end"}, func(n *p) string { return number(n.PeerPort) }},
		column[p]{Column{"local_address", Text, None, "address of this end"}, func(n *p) string { return text(n.LocalAddress) }},
		column[p]{Column{"local_port", Integer, None, "port of this end"}, func(n *p) string { return number(n.LocalPort) }},
		column[p]{Column{"host", Text, None, "name of the other end"}, func(n *p) string { return text(n.Host) }},
		column[p]{Column{"host_source", Text, None, "how the name is known"}, func(n *p) string { return text(n.HostSource) }},
		column[p]{Column{"host_also", Text, None, "another name of the same connection, where they differ"}, func(n *p) string { return text(n.HostAlso) }},
		column[p]{Column{"own", Integer, None, "1: what it connected to is served by a process of the same tool call, or for the same skill in the same session"}, func(n *p) string { return boolean(n.Own) }},
		column[p]{Column{"passed", Integer, None, "1: the process did not make the socket"}, func(n *p) string { return boolean(n.Passed) }},
		column[p]{Column{"family", Text, None, "network.socket: packet, inet, vsock, …"}, func(n *p) string { return text(n.Family) }},
		column[p]{Column{"socket_type", Text, None, "network.socket: raw, dgram, …"}, func(n *p) string { return text(n.SocketType) }},
		column[p]{Column{"bytes_sent", BigInt, None, "payload of the connection so far; network.send and network.close only"}, func(n *p) string { return optionalBig(n.BytesSent) }},
		column[p]{Column{"bytes_received", BigInt, None, "payload of the connection so far; network.send and network.close only"}, func(n *p) string { return optionalBig(n.BytesReceived) }},
		column[p]{Column{"errno", Integer, None, "why the connection failed at once"}, func(n *p) string { return number(n.Errno) }})
	t.Examples = []string{
		"SELECT skill, peer_address, peer_port, sum(bytes_sent) AS sent FROM clawwatch_connections WHERE kind = 'network.close' AND time > strftime('%s', 'now') - 86400 GROUP BY skill, peer_address, peer_port ORDER BY sent DESC;",
	}
	return t
}

func peer(n *event.Network) string { return text(endpoint(n.PeerAddress, n.PeerPort)) }

// endpoint leaves out a port that there is none of: that of a Unix socket.
func endpoint(address string, port uint16) string {
	if port == 0 {
		return address
	}
	if strings.Contains(address, ":") {
		address = "[" + address + "]"
	}
	return address + ":" + count(int(port))
}

func envReads() Table {
	type p = event.Env
	t := records("clawwatch_env_reads", "Environment variables that were read or handed over, by name; values are never recorded.", string(event.KindEnvRead), func(r *record) *p { return r.Env },
		column[p]{Column{"names", Text, None, "of the variables; a JSON array"}, func(e *p) string { return list(e.Names) }},
		column[p]{Column{"referenced", Text, None, "those of them that the skill's own files mention; a JSON array"}, func(e *p) string { return list(e.Referenced) }},
		column[p]{Column{"method", Text, None, "exec, getenv, shell, proc_environ, dump or dotenv"}, func(e *p) string { return text(string(e.Method)) }},
		column[p]{Column{"target_pid", BigInt, None, "proc_environ: whose environment"}, func(e *p) string { return number(e.TargetPID) }})
	t.Examples = []string{
		"SELECT r.datetime, r.skill, n.value AS name FROM clawwatch_env_reads r, json_each(r.names) n WHERE r.time > strftime('%s', 'now') - 3600 AND n.value LIKE '%KEY%';",
	}
	return t
}

func llmCalls() Table {
	type p = event.LLM
	t := records("clawwatch_llm_calls", "Calls of models, with tokens and failures. Prompts and answers are not in it; clawwatch why shows them.", string(event.KindLLMCall), func(r *record) *p { return r.LLM },
		column[p]{Column{"provider", Text, None, "of the model"}, func(l *p) string { return text(l.Provider) }},
		column[p]{Column{"model", Text, None, "its name"}, func(l *p) string { return text(l.Model) }},
		column[p]{Column{"api", Text, None, "the provider's interface"}, func(l *p) string { return text(l.API) }},
		column[p]{Column{"response_id", Text, None, "the provider's ID of the answer"}, func(l *p) string { return text(l.ResponseID) }},
		column[p]{Column{"input_tokens", BigInt, None, "tokens of the prompt"}, func(l *p) string { return count(l.InputTokens) }},
		column[p]{Column{"output_tokens", BigInt, None, "tokens of the answer"}, func(l *p) string { return count(l.OutputTokens) }},
		column[p]{Column{"cache_read_tokens", BigInt, None, "tokens that came from the provider's cache"}, func(l *p) string { return count(l.CacheReadTokens) }},
		column[p]{Column{"cache_write_tokens", BigInt, None, "tokens that went to it"}, func(l *p) string { return count(l.CacheWriteTokens) }},
		column[p]{Column{"stop_reason", Text, None, "why the answer ended"}, func(l *p) string { return text(l.StopReason) }},
		column[p]{Column{"status_code", Integer, None, "HTTP status of a failure"}, func(l *p) string { return number(l.StatusCode) }},
		column[p]{Column{"error_type", Text, None, "the provider's code of a failure"}, func(l *p) string { return text(l.ErrorType) }},
		column[p]{Column{"error", Text, None, "its message, with secrets taken out"}, func(l *p) string { return text(l.Error) }})
	t.Examples = []string{
		"SELECT provider, model, sum(input_tokens) AS tokens_in, sum(output_tokens) AS tokens_out FROM clawwatch_llm_calls WHERE time > strftime('%s', 'now') - 86400 GROUP BY provider, model;",
	}
	return t
}
