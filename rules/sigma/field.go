package sigma

import (
	"fmt"
	"maps"
)

// A category is what a log source of Sigma is here.
type category struct {
	name    string
	kinds   []string
	guard   string // of the kinds, what Sigma means; empty: all
	fields  map[string]field
	inbound map[string]field // network_connection: the fields where the connection was accepted
	message string
}

// A field is where a field of Sigma is found.
type field struct {
	expr string
	name string // the expression for its last component, where it is a path of a program
	kind fieldKind
}

type fieldKind int

const (
	isText    fieldKind = iota
	isNumber            // a whole number; 0 where it is not known
	isAddress           // of IP
	isTrue              // always "true"
	isFalse             // always "false"
	isAbsent            // no event has it
)

// The fields of every category: who did it.
func process(more map[string]field) map[string]field {
	all := map[string]field{
		"Image":             {expr: "process.executable", name: "process.name"},
		"CommandLine":       {expr: "process.command_line"},
		"ParentImage":       {expr: "process.parent_executable"},
		"ParentCommandLine": {expr: "process.parent_command_line"},
		"CurrentDirectory":  {expr: "process.cwd"},
		"User":              {expr: "process.user"},
		"ProcessId":         {expr: "process.pid", kind: isNumber},
		"sha256":            {expr: "process.sha256"},
	}
	maps.Copy(all, more)
	return all
}

// categories gives those that are read, by their names in Sigma.
func categories() map[string]*category {
	target := field{expr: "file.path"}
	return map[string]*category{
		"process_creation": {
			kinds: []string{"process.exec"}, fields: process(nil),
			message: "{who} ran {process.command_line}{by}",
		},
		"file_event": {
			kinds: []string{"file.create", "file.open", "file.write", "file.rename", "file.link"},
			guard: `file.operation in ["create", "write", "truncate", "rename", "exchange", "link", "symlink"] and ` +
				`not file.directory and not file.opened_before`,
			fields:  process(map[string]field{"TargetFilename": target}),
			message: "{who} {did} {file.path}{by}",
		},
		"file_delete": {
			kinds: []string{"file.delete"}, guard: "not file.directory",
			fields:  process(map[string]field{"TargetFilename": target}),
			message: "{who} deleted {file.path}{by}",
		},
		"file_rename": {
			kinds:   []string{"file.rename"},
			fields:  process(map[string]field{"TargetFilename": target, "SourceFilename": {expr: "file.old_path"}}),
			message: "{who} renamed {file.old_path} to {file.path}{by}",
		},
		"network_connection": {
			kinds: []string{"network.connect"}, guard: `network.transport in ["tcp", "udp"]`,
			fields: process(ends("peer", "local", field{kind: isTrue}, field{expr: "network.host"})),
			// A connection to this host comes without a name.
			inbound: process(ends("local", "peer", field{kind: isFalse}, field{kind: isAbsent})),
			message: "{who} had a connection with {endpoint}{by}",
		},
		"dns_query": {
			kinds: []string{"dns.answer"}, fields: process(map[string]field{"QueryName": {expr: "dns.name"}}),
			message: "{who} asked for the name {dns.name}{by}",
		},
	}
}

// ends gives the fields of a connection, by which end Sigma's destination is.
func ends(destination, source string, initiated, host field) map[string]field {
	address := func(end string) field { return field{expr: "network." + end + "_address", kind: isAddress} }
	port := func(end string) field { return field{expr: "network." + end + "_port", kind: isNumber} }
	return map[string]field{
		"DestinationIp": address(destination), "DestinationPort": port(destination), "DestinationHostname": host,
		"SourceIp": address(source), "SourcePort": port(source),
		"Initiated": initiated, "Protocol": {expr: "network.transport"},
	}
}

// categoryOf finds the category of a rule, or says why there is none.
func categoryOf(h *header) (*category, []string) {
	c := categories()[h.category]
	switch {
	case h.product != "" && h.product != "linux":
		return nil, []string{fmt.Sprintf("product %s, and not linux", h.product)}
	case h.service != "":
		return nil, []string{fmt.Sprintf("service %s: a log, and not events of processes, files or connections", h.service)}
	case c == nil:
		return nil, []string{fmt.Sprintf("category %s is not read", quoted(h.category))}
	}
	c.name = h.category
	return c, nil
}
