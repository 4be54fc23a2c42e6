package agent

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"

	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
)

// A Setting is one effective value of a configuration.
type Setting struct {
	Key    string `json:"key"`    // "store.max_size", "otlp[0].endpoint"
	Value  string `json:"value"`  // as a file would have it; secrets masked
	Origin string `json:"origin"` // "default", "file:line", or what the caller put there
}

// masked stands for the value of a secret that is set.
const masked = "********"

// Settings lists the values of a configuration in the order of its
// documentation. origins are those of Origins.
func (c Config) Settings(origins map[string]string) []Setting {
	var all []Setting
	walk("", reflect.ValueOf(c), func(key string, v reflect.Value) {
		all = append(all, Setting{key, show(key, v), origin(origins, key)})
	})
	return all
}

// origin of a key that no file has, in an item of a list that one has, is the
// default.
func origin(origins map[string]string, key string) string {
	if at, ok := origins[key]; ok {
		return at
	}
	if item, _, inList := strings.Cut(key, "]"); inList {
		if at, ok := origins[item+"]"]; ok { // the whole item comes from somewhere else, as a flag
			return at
		}
	}
	return "default"
}

// walk visits every key that has a value of its own, and every empty list.
func walk(at string, v reflect.Value, visit func(key string, v reflect.Value)) {
	t := v.Type()
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("yaml")
		if key == "" {
			continue
		}
		if at != "" {
			key = at + "." + key
		}
		switch f := v.Field(i); {
		case f.Kind() == reflect.Struct:
			walk(key, f, visit)
		case f.Kind() == reflect.Slice && f.Len() > 0:
			for j := range f.Len() {
				walk(key+"["+strconv.Itoa(j)+"]", f.Index(j), visit)
			}
		default:
			visit(key, f)
		}
	}
}

func show(key string, v reflect.Value) string {
	switch value := v.Interface().(type) {
	case policy.Size:
		return bytesOf(int64(value))
	case RingSize:
		return bytesOf(int64(value))
	case fmt.Stringer:
		return value.String()
	case string:
		if strings.Contains(key, ".headers[") && strings.HasSuffix(key, ".value") && value != "" {
			return masked
		}
		return value
	}
	if v.Kind() == reflect.Slice {
		return "[]"
	}
	return fmt.Sprint(v.Interface())
}

// bytesOf gives a size as a file would have it, without a loss.
func bytesOf(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// Origins tells where LoadConfig has values from: "file:line", by key. A key
// that is not there has its default.
func Origins(file string) map[string]string {
	origins := map[string]string{}
	for _, name := range configFiles(file) {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // LoadConfig says so
		}
		places := yamlfile.Places(data)
		for key := range places {
			if !strings.ContainsAny(key, ".[") {
				for k := range origins { // a list that is given replaces the one before
					if strings.HasPrefix(k, key+"[") {
						delete(origins, k)
					}
				}
			}
		}
		for key, at := range places {
			origins[key] = fmt.Sprintf("%s:%d", name, at.Line)
		}
	}
	return origins
}

// Files checks the files that a configuration names and that are read only when
// they are needed. origins are those of Origins.
func (c Config) Files(origins map[string]string) error {
	var errs []error
	check := func(key, name string) {
		if name == "" {
			return
		}
		if err := readable(name); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", origin(origins, key), key, err))
		}
	}
	for i, t := range c.OTLP {
		at := "otlp[" + strconv.Itoa(i) + "]."
		check(at+"ca_file", t.CA)
		check(at+"cert_file", t.Cert)
		check(at+"key_file", t.Key)
		for j, h := range t.Headers {
			check(at+"headers["+strconv.Itoa(j)+"].value_file", h.File)
		}
	}
	return errors.Join(errs...)
}

func readable(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return f.Close()
}
