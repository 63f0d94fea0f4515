package commandprovider

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/pkg/sftp"
	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer/types"
)

func sourceFailures(source types.AssetOrArchive) []p.CheckFailure {
	switch {
	case source.Asset != nil && (source.Asset.IsPath() || source.Asset.IsText()):
	case source.Archive != nil && source.Archive.IsPath():
	default:
		return []p.CheckFailure{{
			Property: "source",
			Reason:   "must be a FileAsset, a StringAsset or a FileArchive",
		}}
	}
	return nil
}

func copySource(ctx context.Context, connection *Connection, source types.AssetOrArchive, remote string) error {
	if source.Archive != nil {
		return copyPath(ctx, connection, source.Archive.Path, remote)
	}
	if source.Asset.IsPath() {
		return copyPath(ctx, connection, source.Asset.Path, remote)
	}
	return withSFTP(ctx, connection, func(client *sftp.Client) error {
		file, err := create(client, remote)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = file.Write([]byte(source.Asset.Text))
		return err
	})
}

// copyPath copies a file or a whole directory. Into a remote directory it goes under its own name.
func copyPath(ctx context.Context, connection *Connection, local, remote string) error {
	info, err := os.Stat(local)
	if err != nil {
		return err
	}
	return withSFTP(ctx, connection, func(client *sftp.Client) error {
		target, err := client.Stat(remote)
		switch {
		case err == nil && target.IsDir():
			remote = path.Join(remote, filepath.Base(local))
		case err == nil && info.IsDir():
			return fmt.Errorf("cannot copy directory %s over file %s", local, remote)
		}
		if !info.IsDir() {
			return copyOne(ctx, client, local, remote)
		}
		return filepath.WalkDir(local, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			relative, err := filepath.Rel(local, name)
			if err != nil {
				return err
			}
			destination := path.Join(remote, filepath.ToSlash(relative))
			if entry.IsDir() {
				return client.MkdirAll(destination)
			}
			return copyOne(ctx, client, name, destination)
		})
	})
}

func copyOne(ctx context.Context, client *sftp.Client, local, remote string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	from, err := os.Open(local)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := create(client, remote)
	if err != nil {
		return err
	}
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	info, err := from.Stat()
	if err != nil {
		return err
	}
	return client.Chmod(remote, info.Mode().Perm())
}

func create(client *sftp.Client, remote string) (*sftp.File, error) {
	if err := client.MkdirAll(path.Dir(remote)); err != nil {
		return nil, fmt.Errorf("cannot create directory %s: %w", path.Dir(remote), err)
	}
	file, err := client.Create(remote)
	if err != nil {
		return nil, fmt.Errorf("cannot write %s: %w", remote, err)
	}
	return file, nil
}

func withSFTP(ctx context.Context, connection *Connection, work func(*sftp.Client) error) error {
	ssh, err := connection.dial(ctx)
	if err != nil {
		return err
	}
	defer ssh.Close()
	stop := context.AfterFunc(ctx, func() { ssh.Close() })
	defer stop()
	client, err := sftp.NewClient(ssh)
	if err != nil {
		return err
	}
	defer client.Close()
	return work(client)
}
