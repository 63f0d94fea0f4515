package postgresqlprovider

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pulumi/pulumi-go-provider/infer"
)

// Config is the provider's configuration: which server, and as whom.
type Config struct {
	Host            *string     `pulumi:"host,optional"`
	Port            *int        `pulumi:"port,optional"`
	Database        *string     `pulumi:"database,optional"`
	Username        *string     `pulumi:"username,optional"`
	Password        *string     `pulumi:"password,optional" provider:"secret"`
	SSLMode         *string     `pulumi:"sslmode,optional"`
	DeprecatedMode  *string     `pulumi:"sslMode,optional"`
	SSLRootCert     *string     `pulumi:"sslrootcert,optional"`
	ClientCert      *ClientCert `pulumi:"clientcert,optional"`
	ConnectTimeout  *int        `pulumi:"connectTimeout,optional"`
	Superuser       *bool       `pulumi:"superuser,optional"`
	Scheme          *string     `pulumi:"scheme,optional"`
	MaxConnections  *int        `pulumi:"maxConnections,optional"`
	ExpectedVersion *string     `pulumi:"expectedVersion,optional"`
	AWSIAM          *bool       `pulumi:"awsRdsIamAuth,optional"`
	AzureIdentity   *bool       `pulumi:"azureIdentityAuth,optional"`
}

// ClientCert is a certificate to identify with.
type ClientCert struct {
	Cert string `pulumi:"cert"`
	Key  string `pulumi:"key"`
}

// Annotate sets the defaults that the official provider has. Superuser, MaxConnections and
// ExpectedVersion are accepted and have no effect: this provider reads no password, opens one
// connection at a time and asks the server what it can do.
func (c *Config) Annotate(a infer.Annotator) {
	a.SetDefault(&c.Host, nil, "PGHOST")
	a.SetDefault(&c.Port, 5432, "PGPORT")
	a.SetDefault(&c.Database, "postgres", "PGDATABASE")
	a.SetDefault(&c.Username, "postgres", "PGUSER")
	a.SetDefault(&c.Password, nil, "PGPASSWORD")
	a.SetDefault(&c.SSLMode, nil, "PGSSLMODE")
	a.SetDefault(&c.SSLRootCert, nil, "PGSSLROOTCERT")
	a.SetDefault(&c.ConnectTimeout, 180, "PGCONNECT_TIMEOUT")
}

// Configure refuses what the official provider can and this one cannot.
func (c *Config) Configure(context.Context) error {
	switch {
	case orDefault(c.Scheme, "postgres") != "postgres" && *c.Scheme != "postgresql":
		return errors.New("scheme: only postgres is supported by this build of the provider")
	case orDefault(c.AWSIAM, false), orDefault(c.AzureIdentity, false):
		return errors.New("cloud identities are not supported by this build of the provider: use a password")
	}
	return nil
}

func (c *Config) database() string { return orDefault(c.Database, "postgres") }

// connect opens a connection to a database of the server, by default the configured one. The caller
// closes it.
func (c *Config) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	if database == "" {
		database = c.database()
	}
	query := url.Values{}
	query.Set("host", orDefault(c.Host, ""))
	query.Set("port", strconv.Itoa(orDefault(c.Port, 5432)))
	query.Set("sslmode", orDefault(c.SSLMode, orDefault(c.DeprecatedMode, "require")))
	if c.SSLRootCert != nil {
		query.Set("sslrootcert", *c.SSLRootCert)
	}
	if c.ClientCert != nil {
		query.Set("sslcert", c.ClientCert.Cert)
		query.Set("sslkey", c.ClientCert.Key)
	}
	dsn := url.URL{Scheme: "postgres", Path: "/", RawQuery: query.Encode()}
	config, err := pgx.ParseConfig(dsn.String())
	if err != nil {
		return nil, err
	}
	config.Database = database
	config.User = orDefault(c.Username, "postgres")
	config.Password = orDefault(c.Password, "")
	config.ConnectTimeout = time.Duration(orDefault(c.ConnectTimeout, 180)) * time.Second
	config.RuntimeParams["application_name"] = "Pulumi provider"
	return pgx.ConnectConfig(ctx, config)
}

// One change of the catalog at a time: two that touch the same row end in "tuple concurrently updated".
var catalog sync.Mutex

// change runs work in one transaction of a database. All of it happens or nothing.
func change(ctx context.Context, database string, work func(pgx.Tx) error) error {
	catalog.Lock()
	defer catalog.Unlock()
	return inTransaction(ctx, database, work)
}

func inTransaction(ctx context.Context, database string, work func(pgx.Tx) error) error {
	conn, err := infer.GetConfig[*Config](ctx).connect(ctx, database)
	if err != nil {
		return err
	}
	// The context may be done; the goodbye may not take long then.
	defer conn.Close(context.WithoutCancel(ctx))
	return pgx.BeginFunc(ctx, conn, work)
}

func orDefault[T any](value *T, fallback T) T {
	if value == nil {
		return fallback
	}
	return *value
}
