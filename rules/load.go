package rules

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
)

// A document is a file of rules.
type document struct {
	Lists  yamlfile.Entries[yamlfile.List[yamlfile.Raw]] `yaml:"lists"`
	Macros yamlfile.Entries[yamlfile.Scalar]             `yaml:"macros"`
	Rules  []rule                                        `yaml:"rules"`

	Exceptions []exceptionText `yaml:"exceptions"`
	Overrides  []override      `yaml:"overrides"`

	file   Source
	broken bool // something of it could not be read
}

func (d *document) mistake(at yamlfile.Pos, format string, args ...any) error {
	return yamlfile.ErrorAt(d.file.Name, d.file.Data, at, fmt.Sprintf(format, args...))
}

// A loader reads files of rules: first all of them, then the lists and macros, and
// only then what may use these.
type loader struct {
	files []Source
	docs  []*document
	words *vocabulary
	errs  []error
}

func newLoader(files []Source) *loader {
	return &loader{files: files, words: &vocabulary{lists: map[string]*wordList{}, macros: map[string]*macro{}}}
}

// load gives the rules of all files, or all their mistakes.
func (l *loader) load() ([]*rule, error) {
	for _, f := range l.files {
		doc := &document{file: f}
		err := yamlfile.Decode(f.Name, f.Data, doc)
		doc.broken = err != nil
		digests(f, doc.Rules)
		l.report(err)
		l.docs = append(l.docs, doc)
	}
	l.report(l.words.learn(l.docs))
	loaded := l.compile()
	l.tune(loaded)
	if len(l.errs) > 0 {
		return nil, errors.Join(l.sorted()...)
	}
	for _, r := range loaded { // let go of the files
		r.Condition.Scalar, r.Exceptions = yamlfile.Scalar{}, nil
	}
	for _, m := range l.words.macros {
		m.text = &yamlfile.Scalar{Text: m.text.Text}
	}
	return loaded, nil
}

func (l *loader) compile() []*rule {
	var all []*rule
	where := map[string]string{}
	for _, doc := range l.docs {
		for i := range doc.Rules {
			r := &doc.Rules[i]
			if r.Condition.Text != "" {
				if err := r.Condition.compile(l.words); err != nil && !errors.Is(err, errBroken) {
					l.report(r.Condition.Mistake(err))
				}
			}
			if doc.broken {
				continue
			}
			if first, ok := where[string(r.Name)]; ok {
				l.report(doc.mistake(r.At, "rule %s is defined in %s already", r.Name, first))
				continue
			}
			where[string(r.Name)] = doc.file.Name
			r.builtin = doc.file.builtin
			r.changed = !r.builtin || slices.ContainsFunc(r.Condition.words, func(name string) bool {
				list := l.words.lists[name]
				return list != nil && list.changed
			})
			all = append(all, r)
		}
	}
	return all
}

// report notes mistakes, one by one.
func (l *loader) report(err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			l.report(e)
		}
	} else if err != nil {
		l.errs = append(l.errs, err)
	}
}

// sorted gives the mistakes in the order of the files and of their lines.
func (l *loader) sorted() []error {
	place := func(err error) (file, line, column int) {
		var at *yamlfile.Error
		if !errors.As(err, &at) {
			return 0, 0, 0
		}
		return slices.IndexFunc(l.files, func(f Source) bool { return f.Name == at.File }), at.Line, at.Column
	}
	slices.SortStableFunc(l.errs, func(a, b error) int {
		file, line, column := place(a)
		file2, line2, column2 := place(b)
		return cmp.Or(cmp.Compare(file, file2), cmp.Compare(line, line2), cmp.Compare(column, column2))
	})
	return l.errs
}
