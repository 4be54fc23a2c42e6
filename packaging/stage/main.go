// Command stage writes what a package says of the modules that are linked into
// a binary: the notices that their licences want, and a list of them in SPDX.
//
//	go run ./packaging/stage -binary FILE -version V -epoch SECONDS -notices FILE -sbom FILE
//
// Both are made from what the Go linker wrote into the binary, and not from
// go.mod, which also names what only tests use. The licence of a module is
// recognised by a few sentences of its text; one that is not recognised is an
// error, so that nobody ships what nobody read.
package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

func main() {
	binary := flag.String("binary", "", "the linked `file`")
	version := flag.String("version", "", "of the package")
	epoch := flag.Int64("epoch", 0, "time of the build, Unix `seconds`")
	notices := flag.String("notices", "", "`file` for the notices, compressed")
	sbom := flag.String("sbom", "", "`file` for the SPDX document")
	flag.Parse()
	if err := run(*binary, *version, *notices, *sbom, time.Unix(*epoch, 0).UTC()); err != nil {
		fmt.Fprintln(os.Stderr, "stage: "+err.Error())
		os.Exit(1)
	}
}

func run(binary, version, notices, sbom string, built time.Time) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("read build information: %w", err)
	}
	parts, err := linked(info)
	if err != nil {
		return err
	}
	if err := writeNotices(notices, parts); err != nil {
		return fmt.Errorf("write notices: %w", err)
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("read binary: %w", err)
	}
	sum := sha256.Sum256(data)
	doc, err := json.MarshalIndent(document(version, hex.EncodeToString(sum[:]), built, parts), "", "  ")
	if err != nil {
		return fmt.Errorf("encode SPDX document: %w", err)
	}
	return os.WriteFile(sbom, append(doc, '\n'), 0o644)
}

// A part is a module, or Go's own library, that is linked in.
type part struct {
	name, version, sum string // sum: as in go.sum; empty for Go itself
	licence            string // SPDX
	text               []byte
}

// linked finds the parts of a binary and their licences.
func linked(info *buildinfo.BuildInfo) ([]part, error) {
	root, err := goCommand("env", "GOROOT")
	if err != nil {
		return nil, err
	}
	std := part{name: "Go standard library", version: strings.TrimPrefix(info.GoVersion, "go")}
	parts, errs := []part{}, []error{std.readLicence(root)}
	parts = append(parts, std)
	for _, m := range info.Deps {
		for m.Replace != nil {
			m = m.Replace
		}
		p, err := module(m)
		errs = append(errs, err)
		parts = append(parts, p)
	}
	slices.SortFunc(parts[1:], func(a, b part) int { return cmp.Compare(a.name, b.name) })
	return parts, errors.Join(errs...)
}

func module(m *debug.Module) (part, error) {
	p := part{name: m.Path, version: m.Version, sum: m.Sum}
	dir, err := goCommand("list", "-m", "-f", "{{.Dir}}", m.Path)
	if err != nil {
		return p, err
	}
	return p, p.readLicence(dir)
}

func goCommand(args ...string) (string, error) {
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// readLicence takes all licence files of the directory; the first one that is
// recognised names the licence.
func (p *part) readLicence(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read licence of %s: %w", p.name, err)
	}
	for _, f := range files {
		name := strings.ToUpper(f.Name())
		if f.IsDir() || !strings.HasPrefix(name, "LICENSE") && !strings.HasPrefix(name, "LICENCE") && !strings.HasPrefix(name, "COPYING") && !strings.HasPrefix(name, "NOTICE") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return fmt.Errorf("read licence of %s: %w", p.name, err)
		}
		p.text = append(append(p.text, bytes.TrimSpace(text)...), "\n\n"...)
		p.licence = cmp.Or(p.licence, recognise(string(text)))
	}
	if p.licence == "" {
		return fmt.Errorf("read licence of %s: none in %s is known", p.name, dir)
	}
	return nil
}

// recognise names a licence by what only it says.
func recognise(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	has := func(s string) bool { return strings.Contains(text, s) }
	switch {
	case has("Apache License") && has("Version 2.0"):
		return "Apache-2.0"
	case has("Mozilla Public License") && has("2.0"):
		return "MPL-2.0"
	case has("Permission is hereby granted, free of charge"):
		return "MIT"
	case has("Permission to use, copy, modify, and/or distribute this software"):
		return "ISC"
	case has("Redistribution and use in source and binary forms") && has("Neither the name"):
		return "BSD-3-Clause"
	case has("Redistribution and use in source and binary forms"):
		return "BSD-2-Clause"
	}
	return ""
}

func writeNotices(file string, parts []part) error {
	var text, packed bytes.Buffer
	fmt.Fprintf(&text, "clawwatch is linked with the following, each under its own licence.\n\n")
	for _, p := range parts {
		fmt.Fprintf(&text, "  %s %s (%s)\n", p.name, p.version, p.licence)
	}
	for _, p := range parts {
		fmt.Fprintf(&text, "\n%s\n%s %s\n\n%s", strings.Repeat("=", 79), p.name, p.version, p.text)
	}
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(text.Bytes()); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(file, packed.Bytes(), 0o644)
}

// object keeps the SPDX document readable here; keys are sorted when encoded.
type object = map[string]any

// document describes the package and what it contains, in SPDX 2.3.
func document(version, digest string, built time.Time, parts []part) object {
	const self = "SPDXRef-clawwatch"
	packages := []object{{
		"SPDXID": self, "name": "clawwatch", "versionInfo": version, "downloadLocation": "https://github.com/clawwatch/clawwatch",
		"filesAnalyzed": false, "licenseConcluded": "Apache-2.0", "licenseDeclared": "Apache-2.0", "copyrightText": "NOASSERTION",
		"checksums": []object{{"algorithm": "SHA256", "checksumValue": digest}}, "primaryPackagePurpose": "APPLICATION",
	}}
	relations := []object{{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": self}}
	for i, p := range parts {
		id := fmt.Sprintf("SPDXRef-part-%d", i)
		pkg := object{
			"SPDXID": id, "name": p.name, "versionInfo": p.version, "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
			"licenseConcluded": p.licence, "licenseDeclared": p.licence, "copyrightText": "NOASSERTION",
		}
		if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(p.sum, "h1:")); err == nil && len(sum) > 0 {
			pkg["comment"] = "go.sum " + p.sum
			pkg["externalRefs"] = []object{{
				"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:golang/" + p.name + "@" + p.version,
			}}
		}
		packages = append(packages, pkg)
		relations = append(relations, object{"spdxElementId": self, "relationshipType": "STATIC_LINK", "relatedSpdxElement": id})
	}
	return object{
		"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "clawwatch-" + version,
		"documentNamespace": "https://github.com/clawwatch/clawwatch/spdx/" + version + "/" + digest,
		"creationInfo":      object{"created": built.Format(time.RFC3339), "creators": []string{"Tool: clawwatch-stage"}},
		"packages":          packages, "relationships": relations,
	}
}
