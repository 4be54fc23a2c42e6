package rules

import "reflect"

// A Field is one that conditions and messages can name.
type Field struct {
	Name string // "network.peer_port"
	Type string // string, int, bool, []string
}

// Fields lists what conditions see, in the order of Env.
func Fields() []Field { return fieldsOf("", reflect.TypeFor[Env]()) }

func fieldsOf(at string, t reflect.Type) []Field {
	var all []Field
	for i := range t.NumField() {
		f := t.Field(i)
		name := at + f.Tag.Get("expr")
		if f.Type.Kind() == reflect.Struct {
			all = append(all, fieldsOf(name+".", f.Type)...)
			continue
		}
		all = append(all, Field{name, f.Type.String()})
	}
	return all
}
