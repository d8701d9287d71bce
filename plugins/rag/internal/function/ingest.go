package function

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/fnhost/fnhost/plugins/rag/internal/index"
	"github.com/fnhost/fnhost/plugins/rag/internal/text"
	"github.com/fnhost/fnhost/sdk"
)

type ingestRequest struct {
	Collection    string         `json:"collection"`
	DocID         string         `json:"doc_id"`
	Title         string         `json:"title"`
	Text          *string        `json:"text"`
	ContentBase64 *string        `json:"content_base64"`
	URI           *string        `json:"uri"`
	MediaType     string         `json:"media_type"`
	Metadata      object         `json:"metadata"`
	Chunking      *chunkingSizes `json:"chunking"`
}

type chunkingSizes struct {
	Size    *int `json:"size"`
	Overlap *int `json:"overlap"`
}

type ingestResult struct {
	DocID       string `json:"doc_id"`
	Changed     bool   `json:"changed"`
	Chunks      int    `json:"chunks"`
	Tokens      int    `json:"tokens"`
	Bytes       int    `json:"bytes"`
	ContentHash string `json:"content_hash"`
	Embedded    bool   `json:"embedded"`
	Cached      bool   `json:"cached"`
	TookMS      int64  `json:"took_ms"`
}

// An input is a checked request with its content.
type input struct {
	collection, docID string
	title, metadata   string
	data              []byte
	hash              string // of data
	mediaType         string
	chunker           text.Chunker
}

func (r *rag) ingest(ctx context.Context, q ingestRequest, _ *sdk.Message) (*sdk.Reply, error) {
	began := time.Now()
	in, err := r.input(q)
	if err != nil {
		return nil, err
	}
	result, err := r.store(ctx, in)
	if err != nil {
		return nil, err
	}
	result.TookMS = millisecondsSince(began)
	return sdk.Result(result)
}

// store makes sure that the document is in the index, with as little work as it
// takes: none if it is there as it is, no chunking if its chunks are cached.
func (r *rag) store(ctx context.Context, in input) (ingestResult, error) {
	result := ingestResult{DocID: in.docID, Bytes: len(in.data), ContentHash: in.hash}
	header, counts, found, err := r.index.Find(ctx, in.collection, in.docID)
	if err != nil {
		return result, err
	}
	if found && in.isStoredAs(header) {
		result.Chunks, result.Tokens = counts.Chunks, counts.Tokens
		return result, nil
	}
	parts, cached, err := r.chunks(ctx, in)
	if err != nil {
		return result, err
	}
	result.Cached = cached
	result.Chunks = len(parts.chunks)
	for _, c := range parts.chunks {
		result.Tokens += c.Tokens
	}
	result.Changed, err = r.index.Put(ctx, index.Document{
		Collection: in.collection,
		ID:         in.docID,
		Header:     in.header(parts.title),
		Chunks:     parts.chunks,
	})
	return result, err
}

func (in input) header(ownTitle string) index.Header {
	title := in.title
	if title == "" {
		title = ownTitle
	}
	return index.Header{Title: title, Metadata: in.metadata, ContentHash: in.hash, Chunker: in.identity(), Bytes: len(in.data)}
}

// isStoredAs compares with what is stored. A title that the document gives
// itself cannot have changed if its content has not.
func (in input) isStoredAs(h index.Header) bool { return h == in.header(h.Title) }

// identity is that of the chunker, marked when the title was the document's own:
// giving a title, or no longer giving one, is a change.
func (in input) identity() string {
	identity := in.chunker.Identity(in.mediaType)
	if in.title == "" {
		identity += ":own-title"
	}
	return identity
}

// input checks a request and reads its content.
func (r *rag) input(q ingestRequest) (in input, err error) {
	if in.collection, err = collectionName(q.Collection); err != nil {
		return in, err
	}
	if in.chunker, err = r.chunker(q.Chunking); err != nil {
		return in, err
	}
	if in.title = strings.TrimSpace(q.Title); len(in.title) > maxTitle {
		return in, permanent("title is %d bytes long; at most %d are allowed", len(in.title), maxTitle)
	}
	if in.metadata, err = q.Metadata.canonical(); err != nil {
		return in, permanent("metadata: %w", err)
	}
	data, name, err := r.content(q)
	if err != nil {
		return in, err
	}
	if in.mediaType, err = text.MediaType(q.MediaType, name, data); err != nil {
		return in, sdk.Permanent(err)
	}
	sum := sha256.Sum256(data)
	in.data, in.hash, in.docID = data, hex.EncodeToString(sum[:]), q.DocID
	if in.docID == "" {
		in.docID = in.hash
	}
	return in, checkName("doc_id", in.docID, maxDocID)
}

func (r *rag) chunker(sizes *chunkingSizes) (text.Chunker, error) {
	c := r.settings.chunker
	if sizes == nil {
		return c, nil
	}
	if sizes.Size != nil {
		c.Size = *sizes.Size
		c.Overlap = min(c.Overlap, c.Size/2)
	}
	if sizes.Overlap != nil {
		c.Overlap = *sizes.Overlap
	}
	if err := c.Check(); err != nil {
		return c, permanent("chunking: %w", err)
	}
	return c, nil
}
