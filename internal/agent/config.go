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
)

// Config is the agent's configuration, as clawwatch.yaml gives it. What a file
// does not mention keeps its default.
type Config struct {
	StateDir string      `yaml:"state_dir"` // 0700: store, queues, redaction salt
	Socket   string      `yaml:"socket"`    // of the API, 0660
	Group    string      `yaml:"group"`     // that may use the socket, where it exists
	Policy   string      `yaml:"policy"`    // policy file; empty: the built-in policy alone
	RulesDir string      `yaml:"rules_dir"` // *.yaml in it are loaded besides the built-in rules; empty: none
	RingSize policy.Size `yaml:"ring_size"` // of the kernel's event ring; a power of two
	Store    StoreConfig `yaml:"store"`
	OTLP     []Target    `yaml:"otlp"`
	JSONL    string      `yaml:"jsonl"` // file to which events and alerts are appended, one JSON object a line; empty: none
}

// StoreConfig bounds the store on this host.
type StoreConfig struct {
	MaxSize policy.Size `yaml:"max_size"`
	MaxAge  Duration    `yaml:"max_age"`
}

func (c StoreConfig) limits() store.Limits {
	return store.Limits{MaxBytes: int64(c.MaxSize), MaxAge: time.Duration(c.MaxAge)}
}

// A Target is one OTLP receiver.
type Target struct {
	Endpoint string      `yaml:"endpoint"` // http(s)://host:4318 or grpc(s)://host:4317
	Headers  []Header    `yaml:"headers"`
	CA       string      `yaml:"ca_file"`
	Cert     string      `yaml:"cert_file"`
	Key      string      `yaml:"key_file"`
	Insecure bool        `yaml:"insecure_skip_verify"`
	Queue    policy.Size `yaml:"queue_size"` // on disk, events and alerts each; 0: the default
}

// A Header is sent with every request. The value may come from a file, so that
// a token need not stand in the configuration.
type Header struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
	File  string `yaml:"value_file"`
}

// Validate checks a target.
func (t *Target) Validate() error {
	u, err := url.Parse(t.Endpoint)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "grpc", "grpcs"}, u.Scheme) {
		return fmt.Errorf("endpoint %q: http(s)://host:4318 or grpc(s)://host:4317 is wanted", t.Endpoint)
	}
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

// Paths of a packaged installation.
const (
	DefaultConfig = "/etc/clawwatch/clawwatch.yaml"
	defaultPolicy = "/etc/clawwatch/policy.yaml"
	defaultRules  = "/etc/clawwatch/rules.d"
)

// DefaultConfiguration is what runs where no file says otherwise.
func DefaultConfiguration() Config {
	c := Config{
		StateDir: "/var/lib/clawwatch", Socket: "/run/clawwatch/clawwatch.sock", Group: "clawwatch",
		RingSize: 8 << 20,
		Store:    StoreConfig{MaxSize: 512 << 20, MaxAge: Duration(30 * 24 * time.Hour)},
	}
	if _, err := os.Stat(defaultPolicy); err == nil {
		c.Policy = defaultPolicy
	}
	if _, err := os.Stat(defaultRules); err == nil {
		c.RulesDir = defaultRules
	}
	return c
}

// LoadConfig reads a configuration file, and the *.yaml in conf.d beside it in
// order of their names, over the defaults. A missing DefaultConfig is no error.
// All mistakes of all files are reported.
func LoadConfig(file string) (Config, error) {
	cfg := DefaultConfiguration()
	parts, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "conf.d", "*.yaml"))
	var errs []error
	for _, name := range append([]string{file}, parts...) {
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
	if n := int64(cfg.RingSize); n < 4096 || n&(n-1) != 0 {
		errs = append(errs, fmt.Errorf("ring_size %s: a power of two of at least 4KiB is wanted", cfg.RingSize))
	}
	return cfg, errors.Join(errs...)
}
