// Command pulumi-resource-docker is the Docker provider, bridged from its upstream.
package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"time"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"

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
	endWithEngine(os.Args[1:], 30*time.Second, func() {
		// What the Docker engine was asked for at that moment may still come to its end.
		time.AfterFunc(time.Minute, func() { os.Exit(1) })
	})
	tfbridge.Main(dockerprovider.Name, version, dockerprovider.Provider(version), schema)
}

// endWithEngine calls gone once the engine that started this plugin no longer answers. The version of Pulumi that the bridge is made of
// looks too, and does nothing about it: the plugins of a run that was killed would stay for ever, at 64 MB each.
func endWithEngine(args []string, every time.Duration, gone func()) {
	for _, arg := range args {
		if !strings.HasPrefix(arg, "-") && strings.Contains(arg, ":") {
			// Without a connection to look through there is nothing to look at.
			_ = rpcutil.Healthcheck(context.Background(), arg, every, gone)
		}
	}
}
