package otlp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// grpcSender sends OTLP over gRPC.
type grpcSender struct {
	headers map[string]string
	conn    *grpc.ClientConn
	client  plogotlp.GRPCClient
}

func newGRPC(u *url.URL, trust *tls.Config, cfg Config) (*grpcSender, error) {
	creds := insecure.NewCredentials()
	if trust != nil {
		creds = credentials.NewTLS(trust)
	}
	conn, err := grpc.NewClient("dns:///"+u.Host,
		grpc.WithTransportCredentials(creds),
		grpc.WithDisableServiceConfig(), // DNS has no say in how we retry
		grpc.WithDisableRetry(),
		grpc.WithUserAgent("clawwatch"),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: cfg.RetryAfter, Multiplier: 2, Jitter: 0.25, MaxDelay: cfg.RetryAtMost,
			},
			MinConnectTimeout: cfg.Timeout,
		}),
		grpc.WithDefaultCallOptions(
			grpc.UseCompressor(gzip.Name),
			grpc.MaxCallRecvMsgSize(maxAnswer),
		),
	)
	if err != nil {
		return nil, fmt.Errorf("make gRPC client: %w", err)
	}
	return &grpcSender{headers: cfg.Headers, conn: conn, client: plogotlp.NewGRPCClient(conn)}, nil
}

func (s *grpcSender) send(ctx context.Context, request []byte) (int64, string, error) {
	req := plogotlp.NewExportRequest()
	if err := req.UnmarshalProto(request); err != nil { // its checksum was right: a fault of ours
		return 0, "", &refusal{text: "decode queued request: " + err.Error(), permanent: true}
	}
	answer, err := s.client.Export(metadata.NewOutgoingContext(ctx, metadata.New(s.headers)), req)
	if err != nil {
		return 0, "", s.judge(err)
	}
	part := answer.PartialSuccess()
	return part.RejectedLogRecords(), scrub(part.ErrorMessage(), s.headers), nil
}

// judge says what a failure means.
func (s *grpcSender) judge(err error) error {
	st := status.Convert(err)
	no := &refusal{
		text:      fmt.Sprintf("gRPC %s: %s", st.Code(), scrub(st.Message(), s.headers)),
		permanent: st.Code() == codes.InvalidArgument,
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			no.after = min(max(0, info.GetRetryDelay().AsDuration()), maxRetryAfter)
		}
	}
	return no
}

func (s *grpcSender) close() error { return s.conn.Close() }
