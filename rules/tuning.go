package rules

import (
	"errors"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
)

// An override changes a rule of another file.
type override struct {
	Rule     string   `yaml:"rule"`
	Enabled  enabled  `yaml:"enabled"`
	Severity severity `yaml:"severity"`
	At       yamlfile.Pos
}

// Validate is called by yamlfile.
func (o *override) Validate() error {
	if o.Rule == "" || !o.Enabled.given && o.Severity == "" {
		return errors.New("an override has the name of a rule, and enabled or severity")
	}
	return nil
}

// tune puts exceptions and overrides of all files into the rules.
func (l *loader) tune(rules []*rule) {
	named := map[string]*rule{}
	for _, r := range rules {
		named[string(r.Name)] = r
	}
	for _, doc := range l.docs {
		for i := range doc.Rules {
			l.own(doc, &doc.Rules[i])
		}
	}
	l.exceptions(named, true)
	l.exceptions(named, false)
	l.override(named)
}

// own reads the exceptions that a rule has itself.
func (l *loader) own(doc *document, r *rule) {
	for i := range r.Exceptions {
		t := &r.Exceptions[i]
		switch {
		case t.Rule != "":
			l.report(doc.mistake(t.At, "an exception of a rule is for no other rule"))
		case len(t.Fields) == 0 && !doc.broken:
			l.report(doc.mistake(t.At, "an exception needs fields"))
		case r.exception(t.Name) != nil:
			l.report(doc.mistake(t.At, "exception %s is given twice", t.Name))
		case t.Name != "":
			l.except(r, t)
		}
	}
}

// except gives a rule another exception.
func (l *loader) except(r *rule, t *exceptionText) {
	x, err := newException(t)
	if l.report(err); err != nil {
		return
	}
	l.report(x.add(t.Values))
	r.exceptions = append(r.exceptions, x)
}

// exceptions reads those that files have for rules of others: first those that say
// their fields, then those that add values to what is there.
func (l *loader) exceptions(named map[string]*rule, whole bool) {
	for _, doc := range l.docs {
		for i := range doc.Exceptions {
			t := &doc.Exceptions[i]
			if t.Name == "" || len(t.Fields) > 0 != whole {
				continue
			}
			r := named[t.Rule]
			if r == nil {
				if !l.unread() {
					l.report(doc.mistake(t.At, "there is no rule %q", t.Rule))
				}
				continue
			}
			r.changed = r.changed || !doc.file.builtin
			x := r.exception(t.Name)
			switch {
			case x == nil && whole:
				l.except(r, t)
			case x == nil:
				l.report(doc.mistake(t.At, "rule %s has no exception %s; a new one needs fields", r.Name, t.Name))
			case whole && !x.same(t):
				l.report(doc.mistake(t.At, "exception %s of %s compares %s by %s", t.Name, r.Name, strings.Join(x.Fields, ", "), strings.Join(x.Comparisons, ", ")))
			default:
				l.report(x.add(t.Values))
			}
		}
	}
}

// same reports whether a file says the fields and comparisons of an exception again.
func (x *exception) same(t *exceptionText) bool {
	equal := func(a []string, b []yamlfile.Scalar) bool {
		return slices.EqualFunc(a, b, func(a string, b yamlfile.Scalar) bool { return a == b.Text })
	}
	return equal(x.Fields, t.Fields) && (len(t.Comparisons) == 0 || equal(x.Comparisons, t.Comparisons))
}

func (l *loader) override(named map[string]*rule) {
	for _, doc := range l.docs {
		for i := range doc.Overrides {
			o := &doc.Overrides[i]
			r := named[o.Rule]
			switch {
			case r == nil && (o.Rule == "" || l.unread()):
			case r == nil:
				l.report(doc.mistake(o.At, "there is no rule %q", o.Rule))
			case r.overridden != "":
				l.report(doc.mistake(o.At, "rule %s is overridden in %s already", o.Rule, r.overridden))
			default:
				r.overridden = doc.file.Name
				r.changed = r.changed || !doc.file.builtin
				if o.Enabled.given {
					r.Enabled = o.Enabled
				}
				if o.Severity != "" {
					r.Severity = o.Severity
				}
			}
		}
	}
}

// unread reports whether some file has rules that are not known for its mistakes.
func (l *loader) unread() bool {
	return slices.ContainsFunc(l.docs, func(d *document) bool { return d.broken })
}

func (r *rule) exception(name ruleName) *exception {
	if i := slices.IndexFunc(r.exceptions, func(x *exception) bool { return x.Name == string(name) }); i >= 0 {
		return r.exceptions[i]
	}
	return nil
}

func (r *rule) exceptionsAskForCommandLine() bool {
	return slices.ContainsFunc(r.exceptions, func(x *exception) bool {
		return slices.Contains(x.Fields, "process.command_line") || slices.Contains(x.Fields, "process.parent_command_line")
	})
}

func (r *rule) described() []Exception {
	var all []Exception
	for _, x := range r.exceptions {
		all = append(all, x.Exception)
	}
	return all
}
