// Package providertest runs a provider behind its real gRPC server and talks to it with the engine's own
// client, in the order in which the engine does.
package providertest

import (
	"context"
	"net"
	"strings"
	"testing"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/integration/fake"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	comprovider "github.com/pulumi/pulumi/sdk/v3/go/pulumi/provider"
	rpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Server is a running provider.
type Server struct {
	plugin.Provider
	pkg    string
	engine *fake.EngineServer
}

// Resource is what the engine keeps of a resource.
type Resource struct {
	URN             resource.URN
	ID              resource.ID
	Inputs, Outputs resource.PropertyMap
}

// Start runs the provider for as long as the test lasts, with a configuration.
func Start(t *testing.T, pkg string, provider p.Provider, config resource.PropertyMap) *Server {
	t.Helper()
	// Not the test's own context: that one ends before the cleanups run.
	ctx, cancel := context.WithCancel(context.Background())
	engine := fake.NewEngineServer()
	address, engineDone, err := fake.StartEngineServer(ctx, engine)
	must(t, err)
	host, err := comprovider.NewHostClient(address)
	must(t, err)
	raw, err := p.RawServer(pkg, "1.2.3", provider)(host)
	must(t, err)

	// Large enough for the output of a command, as the engine's own limit is.
	const limit = 400 << 20
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := grpc.NewServer(grpc.MaxRecvMsgSize(limit))
	rpc.RegisterResourceProviderServer(server, raw)
	go func() { _ = server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(limit)))
	must(t, err)
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
		host.Close()
		cancel()
		<-engineDone
	})

	s := &Server{
		Provider: plugin.NewProviderWithClient(nil, rpc.NewResourceProviderClient(conn), false),
		pkg:      pkg,
		engine:   engine,
	}
	urn := resource.NewURN("test", "test", "", tokens.Type("pulumi:providers:"+pkg), "provider")
	checked, err := s.CheckConfig(ctx, plugin.CheckConfigRequest{URN: urn, News: config})
	must(t, err)
	if len(checked.Failures) > 0 {
		t.Fatalf("the configuration is refused: %v", checked.Failures)
	}
	token, name, id := urn.Type(), urn.Name(), resource.ID("provider-id")
	_, err = s.Configure(ctx, plugin.ConfigureRequest{
		URN: &urn, Type: &token, Name: &name, ID: &id, Inputs: checked.Properties,
	})
	must(t, err)
	return s
}

// Check returns the inputs as the provider completes them.
func (s *Server) Check(t *testing.T, token, name string, old, inputs resource.PropertyMap) (resource.PropertyMap, []plugin.CheckFailure) {
	t.Helper()
	resp, err := s.Provider.Check(context.Background(), plugin.CheckRequest{
		URN: s.urn(token, name), Olds: old, News: inputs, AllowUnknowns: true,
	})
	must(t, err)
	return resp.Properties, resp.Failures
}

// TryCreate checks the inputs and creates the resource.
func (s *Server) TryCreate(t *testing.T, token, name string, inputs resource.PropertyMap) (*Resource, error) {
	t.Helper()
	inputs, failures := s.Check(t, token, name, nil, inputs)
	if len(failures) > 0 {
		t.Fatalf("the inputs are refused: %v", failures)
	}
	resp, err := s.Provider.Create(context.Background(), plugin.CreateRequest{URN: s.urn(token, name), Properties: inputs})
	return &Resource{URN: s.urn(token, name), ID: resp.ID, Inputs: inputs, Outputs: resp.Properties}, err
}

// Create creates the resource.
func (s *Server) Create(t *testing.T, token, name string, inputs resource.PropertyMap) *Resource {
	t.Helper()
	r, err := s.TryCreate(t, token, name, inputs)
	must(t, err)
	return r
}

// Preview returns the outputs that a preview of the creation shows.
func (s *Server) Preview(t *testing.T, token, name string, inputs resource.PropertyMap) resource.PropertyMap {
	t.Helper()
	inputs, failures := s.Check(t, token, name, nil, inputs)
	if len(failures) > 0 {
		t.Fatalf("the inputs are refused: %v", failures)
	}
	resp, err := s.Provider.Create(context.Background(), plugin.CreateRequest{
		URN: s.urn(token, name), Properties: inputs, Preview: true,
	})
	must(t, err)
	return resp.Properties
}

// Diff says what new inputs change. Paths in the result's ReplaceKeys replace the resource.
func (s *Server) Diff(t *testing.T, r *Resource, inputs resource.PropertyMap) plugin.DiffResponse {
	t.Helper()
	inputs, failures := s.Check(t, string(r.URN.Type()), r.URN.Name(), r.Inputs, inputs)
	if len(failures) > 0 {
		t.Fatalf("the inputs are refused: %v", failures)
	}
	resp, err := s.Provider.Diff(context.Background(), plugin.DiffRequest{
		URN: r.URN, ID: r.ID, OldInputs: r.Inputs, OldOutputs: r.Outputs, NewInputs: inputs, AllowUnknowns: true,
	})
	must(t, err)
	return resp
}

// TryUpdate updates the resource in place. A failed update leaves its state as it was.
func (s *Server) TryUpdate(t *testing.T, r *Resource, inputs resource.PropertyMap, preview bool) (resource.PropertyMap, error) {
	t.Helper()
	inputs, failures := s.Check(t, string(r.URN.Type()), r.URN.Name(), r.Inputs, inputs)
	if len(failures) > 0 {
		t.Fatalf("the inputs are refused: %v", failures)
	}
	resp, err := s.Provider.Update(context.Background(), plugin.UpdateRequest{
		URN: r.URN, ID: r.ID, OldInputs: r.Inputs, OldOutputs: r.Outputs, NewInputs: inputs, Preview: preview,
	})
	if err == nil && !preview {
		r.Inputs, r.Outputs = inputs, resp.Properties
	}
	return resp.Properties, err
}

// Update updates the resource in place.
func (s *Server) Update(t *testing.T, r *Resource, inputs resource.PropertyMap) {
	t.Helper()
	_, err := s.TryUpdate(t, r, inputs, false)
	must(t, err)
}

// Refresh reads the resource again; false means that it's gone.
func (s *Server) Refresh(t *testing.T, r *Resource) bool {
	t.Helper()
	resp, err := s.Provider.Read(context.Background(), plugin.ReadRequest{
		URN: r.URN, ID: r.ID, Inputs: r.Inputs, State: r.Outputs,
	})
	must(t, err)
	if resp.ID == "" || resp.Outputs == nil {
		return false
	}
	r.ID, r.Inputs, r.Outputs = resp.ID, resp.Inputs, resp.Outputs
	return true
}

// Import reads a resource of which only the ID is known.
func (s *Server) Import(t *testing.T, token, name string, id resource.ID) (*Resource, bool) {
	t.Helper()
	r := &Resource{URN: s.urn(token, name), ID: id, Inputs: resource.PropertyMap{}, Outputs: resource.PropertyMap{}}
	return r, s.Refresh(t, r)
}

// Delete deletes the resource.
func (s *Server) Delete(t *testing.T, r *Resource) {
	t.Helper()
	must(t, s.TryDelete(r))
}

// TryDelete deletes the resource.
func (s *Server) TryDelete(r *Resource) error {
	_, err := s.Provider.Delete(context.Background(), plugin.DeleteRequest{
		URN: r.URN, ID: r.ID, Inputs: r.Inputs, Outputs: r.Outputs,
	})
	return err
}

// Shown are the messages that the provider sent to the engine, one a line.
func (s *Server) Shown() string {
	var lines []string
	for _, log := range s.engine.Logs() {
		lines = append(lines, log.GetMessage())
	}
	return strings.Join(lines, "\n")
}

func (s *Server) urn(token, name string) resource.URN {
	return resource.NewURN("test", "test", "", tokens.Type(token), name)
}

// Props makes a property map of plain Go values.
func Props(values map[string]any) resource.PropertyMap {
	return resource.NewPropertyMapFromMap(values)
}

// Secret makes a secret of a string.
func Secret(value string) resource.PropertyValue {
	return resource.MakeSecret(resource.NewProperty(value))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
