package agent

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
	"github.com/clawwatch/clawwatch/internal/store"
	"github.com/clawwatch/clawwatch/rules"
)

// Config is the agent's configuration, as clawwatch.yaml gives it. What a file
// does not mention keeps its default. The comments are the reference in
// docs/configuration.md.
type Config struct {
	StateDir string      `yaml:"state_dir"` // directory of the store, the delivery queues and the redaction salt; mode 0700
	Socket   string      `yaml:"socket"`    // path of the unix socket that the other verbs ask; mode 0660
	Group    string      `yaml:"group"`     // group that may use the socket, where it exists
	Policy   string      `yaml:"policy"`    // policy file, read over the built-in policy; the default file may be missing; empty: the built-in policy alone
	RulesDir string      `yaml:"rules_dir"` // directory whose *.yaml are loaded besides the built-in rules; the default directory may be missing; empty: none
	RingSize RingSize    `yaml:"ring_size"` // memory for the kernel's events on their way to the agent; a power of two of at least 4KiB
	Store    StoreConfig `yaml:"store"`     // what is kept on this host
	OTLP     []Target    `yaml:"otlp"`      // receivers of all records and alerts; each has a queue of its own on disk
	JSONL    string      `yaml:"jsonl"`     // file to which records and alerts are appended, one JSON object a line; empty: none
}

// StoreConfig bounds the store on this host.
type StoreConfig struct {
	MaxSize policy.Size `yaml:"max_size"` // of the database; beyond it the oldest records go first
	MaxAge  Duration    `yaml:"max_age"`  // records that are older are deleted
}

func (c StoreConfig) limits() store.Limits {
	return store.Limits{MaxBytes: int64(c.MaxSize), MaxAge: time.Duration(c.MaxAge)}
}

// A Target is one OTLP receiver.
type Target struct {
	Endpoint string      `yaml:"endpoint"`             // http(s)://host:4318 or grpc(s)://host:4317
	Headers  []Header    `yaml:"headers"`              // sent with every request; not over http and grpc to another host
	CA       string      `yaml:"ca_file"`              // PEM, instead of the host's certificate authorities
	Cert     string      `yaml:"cert_file"`            // PEM, the agent's own certificate
	Key      string      `yaml:"key_file"`             // PEM, its key
	Insecure bool        `yaml:"insecure_skip_verify"` // do not check the receiver's certificate
	Queue    policy.Size `yaml:"queue_size"`           // of the events that wait on disk; 0: 1 GiB
}

// A Header is sent with every request. The value may come from a file, so that
// a token need not stand in the configuration.
type Header struct {
	Name  string `yaml:"name"`       // such as Authorization
	Value string `yaml:"value"`      // never printed
	File  string `yaml:"value_file"` // file with the value, instead
}

// Validate checks a target.
func (t *Target) Validate() error {
	u, err := url.Parse(t.Endpoint)
	if strings.ContainsAny(t.Endpoint, "@?#") { // not quoted: there may be a secret in it
		return errors.New("endpoint: user, password, query and fragment are not allowed; use headers, with a value_file")
	}
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "grpc", "grpcs"}, u.Scheme) {
		return fmt.Errorf("endpoint %q: http(s)://host:4318 or grpc(s)://host:4317 is wanted", t.Endpoint)
	}
	return nil
}

// A RingSize is a size that a ring buffer can have.
type RingSize policy.Size

// UnmarshalText takes a size that is a power of two.
func (r *RingSize) UnmarshalText(text []byte) error {
	var size policy.Size
	if err := size.UnmarshalText(text); err != nil {
		return err
	}
	if size < 4096 || size&(size-1) != 0 || size > 1<<30 {
		return fmt.Errorf("%q: a power of two from 4KiB to 1GiB is wanted", text)
	}
	*r = RingSize(size)
	return nil
}

// A Duration is written 30d, 12h, 5m.
type Duration time.Duration

// UnmarshalText takes what time.ParseDuration does, and days.
func (d *Duration) UnmarshalText(text []byte) error {
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n < 36500 {
			*d = Duration(time.Duration(n) * 24 * time.Hour)
			return nil
		}
	}
	v, err := time.ParseDuration(string(text))
	if err != nil || v <= 0 {
		return fmt.Errorf("%q: a duration such as 30d, 12h or 5m is wanted", text)
	}
	*d = Duration(v)
	return nil
}

// String gives days where the duration is made of whole ones.
func (d Duration) String() string {
	const day = 24 * time.Hour
	if t := time.Duration(d); t >= day && t%day == 0 {
		return strconv.Itoa(int(t/day)) + "d"
	}
	return time.Duration(d).String()
}

// Paths of a packaged installation. None of them needs to exist.
const (
	DefaultConfig = "/etc/clawwatch/clawwatch.yaml"
	defaultPolicy = "/etc/clawwatch/policy.yaml"
	defaultRules  = "/etc/clawwatch/rules.d"
)

// DefaultConfiguration is what runs where no file says otherwise.
func DefaultConfiguration() Config {
	return Config{
		StateDir: "/var/lib/clawwatch", Socket: "/run/clawwatch/clawwatch.sock", Group: "clawwatch",
		Policy: defaultPolicy, RulesDir: defaultRules,
		RingSize: 8 << 20,
		Store:    StoreConfig{MaxSize: 512 << 20, MaxAge: Duration(30 * 24 * time.Hour)},
	}
}

// LoadConfig reads a configuration file, and the *.yaml in conf.d beside it in
// order of their names, over the defaults. A missing DefaultConfig is no error.
// All mistakes of all files are reported.
func LoadConfig(file string) (Config, error) {
	cfg := DefaultConfiguration()
	var errs []error
	for _, name := range configFiles(file) {
		data, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) && name == DefaultConfig {
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read configuration: %w", err))
			continue
		}
		errs = append(errs, yamlfile.Decode(name, data, &cfg))
	}
	return cfg, errors.Join(errs...)
}

func configFiles(file string) []string {
	parts, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "conf.d", "*.yaml")) // the pattern is well formed
	return append([]string{file}, parts...)
}

// LoadPolicy reads a policy file over the built-in policy. That one alone is
// what there is without a file, and where the default file is missing.
func LoadPolicy(file string) (*policy.Policy, error) {
	if file == "" {
		return policy.Default(), nil
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) && file == defaultPolicy {
		return policy.Default(), nil
	}
	if err != nil {
		return nil, err
	}
	return policy.Load(file, data)
}

// LoadRules loads the built-in rules and those of a directory, where one is
// named; the default directory may be missing.
func LoadRules(dir string) (*rules.Set, error) {
	files := rules.BuiltinFiles()
	if dir == "" {
		return rules.Load(files...)
	}
	if _, err := os.Stat(dir); err != nil {
		if errors.Is(err, os.ErrNotExist) && dir == defaultRules {
			return rules.Load(files...)
		}
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	more, err := ReadRules(names)
	if err != nil {
		return nil, err
	}
	return rules.Load(append(files, more...)...)
}

// ReadRules reads files of rules: all that can be read.
func ReadRules(names []string) ([]rules.Source, error) {
	var files []rules.Source
	var errs []error
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		files = append(files, rules.Source{Name: name, Data: data})
	}
	return files, errors.Join(errs...)
}
