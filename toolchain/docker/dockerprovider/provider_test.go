package dockerprovider

import (
	"strings"
	"testing"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shim "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim"
)

// comparison compares upstream's schema, under the names that the bridge gives it, with the SDK's.
type comparison struct {
	t      *testing.T
	inputs typings
}

// Every property of every resource of the SDK must be there, with the same name and shape.
func TestResourcesMatchTheSDK(t *testing.T) {
	info := Provider("1.2.3")
	c := comparison{t, readTypings(t, "types/input.d.ts")}
	for name, resource := range info.Resources {
		token := string(resource.Tok)
		typeName := token[strings.LastIndex(token, ":")+1:]
		file := strings.TrimPrefix(strings.Split(token, ":")[1], "index/") + ".d.ts"
		sdk := readTypings(t, file)
		upstream := info.P.ResourcesMap().Get(name).Schema()
		c.object(typeName+"Args", sdk[typeName+"Args"], upstream, resource.Fields)
		c.object(typeName+"State", sdk[typeName+"State"], upstream, resource.Fields)
	}
}

func TestProviderConfigurationMatchesTheSDK(t *testing.T) {
	info := Provider("1.2.3")
	c := comparison{t, readTypings(t, "types/input.d.ts")}
	c.object("ProviderArgs", readTypings(t, "provider.d.ts")["ProviderArgs"], info.P.Schema(), info.Config)
}

func TestFunctionsMatchTheSDK(t *testing.T) {
	info := Provider("1.2.3")
	c := comparison{t, readTypings(t, "types/input.d.ts")}
	for name, function := range info.DataSources {
		token := string(function.Tok)
		typeName := strings.ToUpper(token[strings.LastIndex(token, ":")+1:][:1]) + token[strings.LastIndex(token, ":")+2:]
		sdk := readTypings(t, strings.TrimPrefix(strings.Split(token, ":")[1], "index/")+".d.ts")
		c.object(typeName+"OutputArgs", sdk[typeName+"OutputArgs"], info.P.DataSourcesMap().Get(name).Schema(), function.Fields)
	}
}

func (c comparison) object(path string, want map[string]shape, upstream shim.SchemaMap, fields map[string]*tfbridge.SchemaInfo) {
	c.t.Helper()
	if len(want) == 0 {
		c.t.Errorf("%s is not in the SDK", path)
	}
	type property struct {
		schema shim.Schema
		info   *tfbridge.SchemaInfo
	}
	ours := map[string]property{}
	upstream.Range(func(key string, schema shim.Schema) bool {
		ours[tfbridge.TerraformToPulumiNameV2(key, upstream, fields)] = property{schema, fields[key]}
		return true
	})
	for name, shape := range want {
		property, ok := ours[name]
		if !ok {
			c.t.Errorf("%s.%s is in the SDK and not in this provider", path, name)
			continue
		}
		c.property(path+"."+name, shape, property.schema, property.info)
	}
}

func (c comparison) property(path string, want shape, schema shim.Schema, info *tfbridge.SchemaInfo) {
	c.t.Helper()
	kind, object := kindOf(schema, info)
	if kind != want.kind {
		c.t.Errorf("%s is %s, in the SDK %s", path, kind, want.kind)
		return
	}
	// A name that nobody gives is made up, and in a state nothing is required.
	if want.required && !schema.Required() {
		c.t.Errorf("%s is required in the SDK only", path)
	}
	if object != nil {
		var fields map[string]*tfbridge.SchemaInfo
		if info != nil && info.Elem != nil {
			fields = info.Elem.Fields
		}
		c.object(want.object, c.inputs[want.object], object.Schema(), fields)
	}
}

func kindOf(schema shim.Schema, info *tfbridge.SchemaInfo) (string, shim.Resource) {
	switch schema.Type() {
	case shim.TypeString:
		return "string", nil
	case shim.TypeBool:
		return "boolean", nil
	case shim.TypeInt, shim.TypeFloat:
		return "number", nil
	case shim.TypeMap:
		return "map", nil
	}
	suffix := "[]"
	if tfbridge.IsMaxItemsOne(schema, info) {
		suffix = ""
	}
	switch element := schema.Elem().(type) {
	case shim.Resource:
		return "object" + suffix, element
	case shim.Schema:
		kind, object := kindOf(element, nil)
		return kind + suffix, object
	}
	return "unknown", nil
}

func TestContainersAreDeletedBeforeTheyAreReplaced(t *testing.T) {
	if !Provider("1.2.3").Resources["docker_container"].DeleteBeforeReplace {
		t.Error("two containers would want one name and one port")
	}
}

func TestUpstreamIsSound(t *testing.T) {
	if err := Provider("1.2.3").P.InternalValidate(); err != nil {
		t.Error(err)
	}
	if got := Provider("1.2.3").P; got == nil || got.ResourcesMap().Len() != len(Provider("1.2.3").Resources) {
		t.Error("upstream has resources that have no token here")
	}
}
