package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/rules"
	"github.com/clawwatch/clawwatch/rules/sigma"
)

func newRulesImportCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "import PATH…",
		Short: "Translate Sigma rules into rules of clawwatch",
		Long: `Translate the Sigma rules in files, or in all *.yml and *.yaml below a directory,
and write each into a file of its own. Without --out nothing is written, and the
summary says what would be. A rule that cannot be expressed as a whole is left out,
and listed with the reason; the exit status is 3 then. A file that is there already
with another content is left alone.`,
		Example: "  clawwatch rules import sigma/rules/linux --out rules.d\n  clawwatch rules check rules.d/*.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("import rules: files or directories with Sigma rules are wanted")}
			}
			i := importing{out: out, taken: map[string]bool{}, left: map[string][]string{}}
			for _, r := range rules.Builtin().Rules() {
				i.taken[r.Name] = true
			}
			if err := i.all(args); err != nil {
				return fmt.Errorf("import rules: %w", err)
			}
			p := newPrinter(cmd.OutOrStdout())
			i.summary(p)
			if left := i.found - i.imported; left > 0 && p.err == nil {
				return notWell{fmt.Errorf("import rules: %d of %s left out", left, count(i.found, "rule"))}
			}
			return p.err
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write the rules into `DIR`, which is made where it is missing")
	return cmd
}

// importing is one run of the verb.
type importing struct {
	out             string // directory; empty: nothing is written
	taken           map[string]bool
	found, imported int
	left            map[string][]string // files that were left out, by the reason
}

func (i *importing) all(paths []string) error {
	files, err := sigmaFiles(paths)
	if err != nil {
		return err
	}
	if i.out != "" {
		if err := os.MkdirAll(i.out, 0o755); err != nil {
			return err
		}
	}
	for _, name := range files {
		if err := i.one(name); err != nil {
			return err
		}
	}
	return nil
}

// sigmaFiles gives the files that are named, and those below the directories that
// are. Links below a directory are not followed.
func sigmaFiles(paths []string) ([]string, error) {
	var files []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, p)
			continue
		}
		err = filepath.WalkDir(p, func(name string, d fs.DirEntry, err error) error {
			if ext := filepath.Ext(name); err == nil && d.Type().IsRegular() && (ext == ".yml" || ext == ".yaml") {
				files = append(files, name)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

func (i *importing) one(name string) error {
	i.found++
	data, err := readSome(name, sigma.MaxFile)
	if err != nil {
		return err
	}
	rule, err := sigma.Convert(name, data, func(name string) bool { return i.taken[name] })
	var why sigma.Unsupported
	switch {
	case errors.As(err, &why):
		for _, reason := range why {
			i.left[reason] = append(i.left[reason], name)
		}
		return nil
	case err != nil:
		i.left[err.Error()] = append(i.left[err.Error()], name)
		return nil
	}
	i.taken[rule.Name] = true
	there, err := i.write(rule)
	switch {
	case err != nil:
		return err
	case there:
		const reason = "its file is there already, with another content: remove it, or give another --out"
		i.left[reason] = append(i.left[reason], name)
		return nil
	}
	i.imported++
	return nil
}

// readSome reads one byte more than the limit at most, and no pipes or devices.
func readSome(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: a file is wanted", text(name))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// write puts a rule into its file. there: a file of this name says something else.
func (i *importing) write(r *sigma.Rule) (there bool, err error) {
	if i.out == "" {
		return false, nil
	}
	name := filepath.Join(i.out, r.Name+".yaml")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		before, err := readSome(name, int64(len(r.YAML)))
		return !bytes.Equal(before, r.YAML), err
	}
	if err != nil {
		return false, err
	}
	_, err = f.Write(r.YAML)
	return false, errors.Join(err, f.Close())
}

func (i *importing) summary(p *printer) {
	where := "; nothing was written, as there is no --out"
	if i.out != "" {
		where = " into " + text(i.out)
	}
	p.linef("imported %d of %s%s", i.imported, count(i.found, "rule"), where)
	if len(i.left) > 0 {
		p.line("left out, as a rule is taken whole or not at all:")
	}
	for _, reason := range slices.SortedFunc(maps.Keys(i.left), func(a, b string) int {
		if d := len(i.left[b]) - len(i.left[a]); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	}) {
		p.linef("  %s (%d)", text(reason), len(i.left[reason]))
		for _, name := range i.left[reason] {
			p.linef("    %s", text(name))
		}
	}
}
