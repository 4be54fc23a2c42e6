// Command otelcol is a real OpenTelemetry Collector, small: what the delivery
// tests export to. It takes OTLP over HTTP and gRPC on loopback and appends
// every batch, as OTLP JSON, to one file.
//
// It is a module of its own, so that the agent's dependencies stay few. It is
// written by hand because the collector's builder wants more than is used here.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/debugexporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

// config has no batch processor, and a rotation that never comes, because that
// is how the file exporter does without a buffer: the collector answers only when
// the file has the batch, so what it acknowledged survives its death.
const config = `yaml:
receivers:
  otlp:
    protocols:
      http: {endpoint: %q}
      grpc: {endpoint: %q}
exporters:
  file: {path: %q, rotation: {max_megabytes: 1000000, max_backups: 1}}
  debug: {verbosity: basic}
service:
  telemetry:
    metrics: {level: none}
    logs: {level: %s}
  pipelines:
    logs: {receivers: [otlp], exporters: [%s]}
    metrics: {receivers: [otlp], exporters: [%s]}
    traces: {receivers: [otlp], exporters: [%s]}
`

func main() {
	httpAddr := flag.String("http", "127.0.0.1:4318", "`address` for OTLP over HTTP")
	grpcAddr := flag.String("grpc", "127.0.0.1:4317", "`address` for OTLP over gRPC")
	file := flag.String("file", "", "append what is received to this `path`, one JSON object a batch (required)")
	debug := flag.Bool("debug", false, "also log a line for each batch")
	whole := flag.String("config", "", "run this configuration `file` instead")
	flag.Parse()
	if (*file == "") == (*whole == "") || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	exporters, level := "file", "warn"
	if *debug {
		exporters, level = "file, debug", "info"
	}
	uri := fmt.Sprintf(config, *httpAddr, *grpcAddr, *file, level, exporters, exporters, exporters)
	if *whole != "" {
		data, err := os.ReadFile(*whole)
		if err != nil {
			fmt.Fprintf(os.Stderr, "otelcol: read configuration: %v\n", err)
			os.Exit(1)
		}
		uri = "yaml:" + string(data)
	}
	if err := run(uri); err != nil {
		fmt.Fprintf(os.Stderr, "otelcol: run collector: %v\n", err)
		os.Exit(1)
	}
}

func run(uri string) error {
	col, err := otelcol.NewCollector(otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "otelcol", Description: "test peer of clawwatch", Version: "0.160.0"},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{
				URIs:              []string{uri},
				ProviderFactories: []confmap.ProviderFactory{yamlprovider.NewFactory()},
			},
		},
	})
	if err != nil {
		return err
	}
	return col.Run(context.Background())
}

func factories() (otelcol.Factories, error) {
	receivers, err := otelcol.MakeFactoryMap[receiver.Factory](otlpreceiver.NewFactory())
	if err != nil {
		return otelcol.Factories{}, err
	}
	exporters, err := otelcol.MakeFactoryMap[exporter.Factory](fileexporter.NewFactory(), debugexporter.NewFactory())
	if err != nil {
		return otelcol.Factories{}, err
	}
	return otelcol.Factories{
		Receivers: receivers,
		Exporters: exporters,
		Telemetry: otelconftelemetry.NewFactory(),
	}, nil
}
