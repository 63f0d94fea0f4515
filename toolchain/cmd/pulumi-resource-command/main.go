// Command pulumi-resource-command is the provider that runs commands.
package main

import (
	"context"
	"fmt"
	"os"

	p "github.com/pulumi/pulumi-go-provider"

	"togather.example/toolchain/internal/commandprovider"
)

// version is set by the linker; the stack's package.json decides which.
var version = "0.0.0"

func main() {
	if err := p.RunProvider(context.Background(), commandprovider.Name, version, commandprovider.New()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
