// Command pulumi-resource-docker is the Docker provider, bridged from its upstream.
package main

import (
	"encoding/json"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"

	"togather.example/toolchain/docker/dockerprovider"
)

// version is set by the linker; the stack's package.json decides which.
var version = "0.0.0"

func main() {
	// The schema only matters to code generators, and the SDK is the official one.
	schema, err := json.Marshal(map[string]string{"name": dockerprovider.Name, "version": version})
	if err != nil {
		panic(err)
	}
	tfbridge.Main(dockerprovider.Name, version, dockerprovider.Provider(version), schema)
}
