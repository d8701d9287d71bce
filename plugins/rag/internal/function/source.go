package function

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/fnhost/fnhost/sdk"
)

// maxDocument bounds what a URI may bring in, in bytes: as much as a message may.
const maxDocument = 64 << 20

// content gives the bytes of a document and the name to tell its type by.
func (r *rag) content(q ingestRequest) (data []byte, name string, err error) {
	given := 0
	for _, field := range []*string{q.Text, q.ContentBase64, q.URI} {
		if field != nil {
			given++
		}
	}
	if given != 1 {
		return nil, "", permanent("%d of text, content_base64 and uri are given; give exactly one", given)
	}
	switch {
	case q.Text != nil:
		return []byte(*q.Text), q.DocID, nil
	case q.ContentBase64 != nil:
		data, err = base64.StdEncoding.DecodeString(*q.ContentBase64)
		if err != nil {
			return nil, "", permanent("content_base64: %w", err)
		}
		return data, q.DocID, nil
	}
	data, path, err := readURI(*q.URI, r.settings.roots)
	if err != nil {
		return nil, "", fmt.Errorf("reading uri %q: %w", *q.URI, err)
	}
	return data, path, nil
}

// readURI reads a file below one of the roots. What the sender can mend is
// permanent; a failing disk is not.
func readURI(uri string, roots []string) (data []byte, path string, err error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, "", sdk.Permanent(err)
	}
	if u.Scheme != "file" || u.Host != "" && u.Host != "localhost" || !filepath.IsAbs(u.Path) {
		return nil, "", permanent("only file:///absolute/path is supported")
	}
	path, err = filepath.EvalSymlinks(u.Path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, "", sdk.Permanent(err)
	}
	if err != nil {
		return nil, "", err
	}
	for _, root := range roots {
		if rel, ok := below(root, path); ok {
			data, err = readBelow(root, rel)
			return data, path, err
		}
	}
	return nil, "", permanent("not below a directory of the setting roots (%q)", roots)
}

// below gives the path relative to a root, if it is inside of it.
func below(root, path string) (string, bool) {
	real, err := filepath.EvalSymlinks(root)
	if err != nil {
		return "", false
	}
	rel, err := filepath.Rel(real, path)
	return rel, err == nil && filepath.IsLocal(rel)
}

// readBelow opens the file through its root, so that a link that is put in its
// place meanwhile cannot lead out.
func readBelow(root, rel string) ([]byte, error) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	info, err := dir.Stat(rel)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, permanent("not a regular file")
	}
	f, err := dir.Open(rel)
	if errors.Is(err, fs.ErrPermission) {
		return nil, sdk.Permanent(err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err == nil && len(data) > maxDocument {
		return nil, permanent("larger than %d bytes", maxDocument)
	}
	return data, err
}
