// Command pulumi-resource-postgresql is the provider for roles, databases and privileges of PostgreSQL.
package main

import (
	"context"
	"fmt"
	"os"

	p "github.com/pulumi/pulumi-go-provider"

	"togather.example/toolchain/internal/postgresqlprovider"
)

// version is set by the linker; the stack's package.json decides which.
var version = "0.0.0"

func main() {
	if err := p.RunProvider(context.Background(), postgresqlprovider.Name, version, postgresqlprovider.New()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
