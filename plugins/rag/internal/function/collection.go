package function

import (
	"context"
	"log/slog"

	"github.com/fnhost/fnhost/sdk"
)

type deleteRequest struct {
	Collection string `json:"collection"`
	DocID      string `json:"doc_id"`
}

type deleteResult struct {
	DeletedChunks int `json:"deleted_chunks"`
}

func (r *rag) delete(ctx context.Context, q deleteRequest, _ *sdk.Message) (*sdk.Reply, error) {
	collection, err := collectionName(q.Collection)
	if err != nil {
		return nil, err
	}
	if q.DocID == "" {
		return nil, permanent("doc_id is missing: name the document to delete")
	}
	if err := checkName("doc_id", q.DocID, maxDocID); err != nil {
		return nil, err
	}
	deleted, err := r.index.Delete(ctx, collection, q.DocID)
	if err != nil {
		return nil, err
	}
	if cache, err := sdk.Cache(ctx); err == nil {
		if err := cache.Delete(cacheKey(q.DocID)); err != nil {
			slog.WarnContext(ctx, "cached chunks not deleted", "doc_id", q.DocID, "error", err)
		}
	}
	return sdk.Result(deleteResult{DeletedChunks: deleted})
}

type statsRequest struct {
	Collection string `json:"collection"`
}

type statsResult struct {
	Documents int    `json:"documents"`
	Chunks    int    `json:"chunks"`
	Terms     int    `json:"terms"`
	Embedder  string `json:"embedder"`
	SizeBytes int64  `json:"size_bytes"`
}

func (r *rag) stats(ctx context.Context, q statsRequest, _ *sdk.Message) (*sdk.Reply, error) {
	collection, err := collectionName(q.Collection)
	if err != nil {
		return nil, err
	}
	s, err := r.index.Stats(ctx, collection)
	if err != nil {
		return nil, err
	}
	return sdk.Result(statsResult{Documents: s.Documents, Chunks: s.Chunks, Terms: s.Terms, Embedder: "none", SizeBytes: s.SizeBytes})
}
