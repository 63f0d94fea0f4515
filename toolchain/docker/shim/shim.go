// Package shim hands out upstream's provider, which lives in one of its `internal` packages: Go lets
// a package in if its path begins with that of the module above `internal`, and this module's does.
package shim

import (
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/terraform-providers/terraform-provider-docker/internal/provider"
)

// NewProvider returns the Docker provider as upstream's own main does.
func NewProvider() *schema.Provider {
	return provider.New("pulumi")()
}
