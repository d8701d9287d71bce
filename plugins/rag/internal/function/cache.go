package function

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"

	"github.com/fnhost/fnhost/plugins/rag/internal/text"
	"github.com/fnhost/fnhost/sdk"
)

// A parting is what loading and splitting make of a document's bytes.
type parting struct {
	title  string // the document's own
	chunks []text.Chunk
}

// chunks gives a document's parting from the cache, or else makes and caches it.
// The cache saves work and is nothing to rely on: if it fails, the work is done.
func (r *rag) chunks(ctx context.Context, in input) (p parting, cached bool, err error) {
	cache, err := sdk.Cache(ctx)
	useCache := err == nil && r.settings.cacheTTL > 0
	if useCache {
		if p, cached = lookUp(ctx, cache, in); cached {
			return p, true, nil
		}
	}
	doc, err := text.Load(in.mediaType, in.data)
	if err != nil {
		return p, false, sdk.Permanent(err)
	}
	p = parting{title: shorten(doc.Title), chunks: in.chunker.Split(doc)}
	if useCache {
		r.remember(cache, in, p)
	}
	return p, false, nil
}

func shorten(title string) string {
	title = strings.Join(strings.Fields(title), " ")
	return strings.ToValidUTF8(title[:min(len(title), maxTitle)], "")
}

// maxCached bounds what is cached of one document, in bytes.
const maxCached = 4 << 20

const metaField = "_meta"

// cacheMeta says what the cached chunks were made from.
type cacheMeta struct {
	ContentHash string `json:"content_hash"`
	Chunker     string `json:"chunker"`
	Title       string `json:"title"`
	N           int    `json:"n"`
}

type cachedChunk struct {
	Text    string `json:"text"`
	Section string `json:"section"`
	Start   int    `json:"start"`
	End     int    `json:"end"`
}

func cacheKey(docID string) string { return "chunks:" + docID }

func chunkField(n int) string { return fmt.Sprintf("%04d", n) }

func lookUp(ctx context.Context, cache *sdk.CacheValue, in input) (parting, bool) {
	fields, found, err := cache.Get(ctx, cacheKey(in.docID))
	if err != nil {
		slog.WarnContext(ctx, "chunk cache not read; chunking anew", "doc_id", in.docID, "error", err)
		return parting{}, false
	}
	if !found {
		return parting{}, false
	}
	return decodeCached(fields, in)
}

// decodeCached gives the parting if the fields are whole and of this content.
func decodeCached(fields map[string]string, in input) (parting, bool) {
	var meta cacheMeta
	if json.Unmarshal([]byte(fields[metaField]), &meta) != nil ||
		meta.ContentHash != in.hash || meta.Chunker != in.chunker.Identity(in.mediaType) || meta.N != len(fields)-1 {
		return parting{}, false
	}
	p := parting{title: meta.Title}
	for n := range meta.N {
		var c cachedChunk
		if json.Unmarshal([]byte(fields[chunkField(n)]), &c) != nil || c.Start < 0 || c.End-c.Start != len(c.Text) {
			return parting{}, false
		}
		p.chunks = append(p.chunks, text.Chunk{Section: c.Section, Text: c.Text, Start: c.Start, End: c.End, Tokens: text.Tokens(c.Text)})
	}
	return p, true
}

// remember caches a parting unless it is too large.
func (r *rag) remember(cache *sdk.CacheValue, in input, p parting) {
	fields, err := encodeCached(in, p)
	if err == nil && size(fields) <= maxCached {
		err = cache.Set(cacheKey(in.docID), fields, r.settings.cacheTTL)
	}
	if err != nil {
		slog.Warn("chunks not cached", "doc_id", in.docID, "error", err)
	}
}

func encodeCached(in input, p parting) (map[string]string, error) {
	fields := make(map[string]string, len(p.chunks)+1)
	meta, err := json.Marshal(cacheMeta{in.hash, in.chunker.Identity(in.mediaType), p.title, len(p.chunks)})
	if err != nil {
		return nil, err
	}
	fields[metaField] = string(meta)
	for n, c := range p.chunks {
		chunk, err := json.Marshal(cachedChunk{c.Text, c.Section, c.Start, c.End})
		if err != nil {
			return nil, err
		}
		fields[chunkField(n)] = string(chunk)
	}
	return fields, nil
}

func size(fields map[string]string) int {
	n := 0
	for name, value := range fields {
		n += len(name) + len(value)
	}
	return n
}
