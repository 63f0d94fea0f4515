package commandprovider

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gobwas/glob"
	"github.com/pulumi/pulumi-go-provider/infer/types"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// collect gathers the files that the command was to leave in dir.
func (out *localOutputs) collect(dir string, in localInputs) error {
	if in.AssetPaths != nil {
		assets, err := findAssets(dir, *in.AssetPaths)
		if err != nil {
			return err
		}
		members := map[string]types.AssetOrArchive{}
		for name, asset := range assets {
			members[name] = types.AssetOrArchive{Asset: asset}
		}
		out.Assets = &members
	}
	if in.ArchivePaths != nil {
		assets, err := findAssets(dir, *in.ArchivePaths)
		if err != nil {
			return err
		}
		members := map[string]any{}
		for name, asset := range assets {
			members[name] = asset
		}
		if out.Archive, err = resource.NewAssetArchive(members); err != nil {
			return err
		}
	}
	return nil
}

// findAssets returns the files under dir that the patterns select, by their path from dir. Patterns are
// applied in order; one that begins with `!` takes files out again.
func findAssets(dir string, patterns []string) (map[string]*resource.Asset, error) {
	globs := make([]glob.Glob, len(patterns))
	for i, pattern := range patterns {
		var err error
		if globs[i], err = glob.Compile(strings.TrimPrefix(pattern, "!"), '/'); err != nil {
			return nil, err
		}
	}
	assets := map[string]*resource.Asset{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		selected := false
		for i, pattern := range patterns {
			if globs[i].Match(name) {
				selected = !strings.HasPrefix(pattern, "!")
			}
		}
		if selected {
			assets[name], err = resource.NewPathAsset(filepath.Join(dir, name))
		}
		return err
	})
	return assets, err
}
