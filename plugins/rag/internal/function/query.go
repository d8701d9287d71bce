package function

import (
	"context"
	"encoding/json"
	"time"

	"github.com/fnhost/fnhost/plugins/rag/internal/answer"
	"github.com/fnhost/fnhost/plugins/rag/internal/index"
	"github.com/fnhost/fnhost/sdk"
)

type queryRequest struct {
	QueryID    string  `json:"query_id"`
	Collection string  `json:"collection"`
	Query      string  `json:"query"`
	TopK       *int    `json:"top_k"`
	Mode       string  `json:"mode"`
	Filter     object  `json:"filter"`
	Answer     string  `json:"answer"`
	Group      string  `json:"group"`
	MinScore   float64 `json:"min_score"`
	HitText    *bool   `json:"hit_text"`
}

type queryResult struct {
	QueryID string        `json:"query_id"`
	Mode    string        `json:"mode"`
	Hits    []hit         `json:"hits"`
	Answer  *answerResult `json:"answer"`
	TookMS  int64         `json:"took_ms"`
}

type hit struct {
	DocID    string          `json:"doc_id"`
	ChunkID  string          `json:"chunk_id"`
	Score    float64         `json:"score"`
	Rank     int             `json:"rank"`
	Title    string          `json:"title"`
	Section  string          `json:"section"`
	Text     string          `json:"text,omitempty"`
	Start    int             `json:"start"`
	End      int             `json:"end"`
	Metadata json.RawMessage `json:"metadata"`
}

type answerResult struct {
	Kind      string     `json:"kind"`
	Text      string     `json:"text"`
	Citations []citation `json:"citations"`
}

type citation struct {
	N       int    `json:"n"`
	DocID   string `json:"doc_id"`
	ChunkID string `json:"chunk_id"`
}

const (
	defaultTopK = 5
	maxTopK     = 1000
	maxQuery    = 16 << 10 // bytes
	// answerFrom is how many of the hits an answer is made from.
	answerFrom = 10

	lexical    = "lexical"
	extractive = "extractive"
	byDocument = "document"
	byChunk    = "chunk"
)

func (r *rag) query(ctx context.Context, q queryRequest, m *sdk.Message) (*sdk.Reply, error) {
	began := time.Now()
	search, err := q.check()
	if err != nil {
		return nil, err
	}
	found, err := r.index.Search(ctx, search)
	if err != nil {
		return nil, err
	}
	result := queryResult{QueryID: q.QueryID, Mode: lexical, Hits: hits(found, q.HitText == nil || *q.HitText)}
	if result.QueryID == "" {
		result.QueryID = m.ID
	}
	if q.Answer == extractive {
		if result.Answer, err = r.extract(ctx, search, found); err != nil {
			return nil, err
		}
	}
	result.TookMS = millisecondsSince(began)
	return sdk.Result(result)
}

// check says what is wrong with a request, or makes a search of it.
func (q *queryRequest) check() (s index.Query, err error) {
	s = index.Query{Limit: defaultTopK, MinScore: q.MinScore, Filter: q.Filter, Terms: index.Terms(q.Query)}
	if s.Collection, err = collectionName(q.Collection); err != nil {
		return s, err
	}
	if len(q.Query) > maxQuery {
		return s, permanent("query is %d bytes long; at most %d are allowed", len(q.Query), maxQuery)
	}
	if len(s.Terms) == 0 {
		return s, permanent("query %q has no word to search for", q.Query)
	}
	if q.TopK != nil {
		s.Limit = *q.TopK
	}
	if s.Limit < 1 || s.Limit > maxTopK {
		return s, permanent("top_k is %d; want 1 to %d", s.Limit, maxTopK)
	}
	if err := index.CheckFilter(q.Filter); err != nil {
		return s, sdk.Permanent(err)
	}
	if s.Documents, err = q.groups(); err != nil {
		return s, err
	}
	return s, q.checkKinds()
}

func (q *queryRequest) groups() (documents bool, err error) {
	switch q.Group {
	case "", byDocument:
		return true, nil
	case byChunk:
		return false, nil
	}
	return false, permanent("group is %q; want %q or %q", q.Group, byDocument, byChunk)
}

// checkKinds checks what to search with and what to answer by.
func (q *queryRequest) checkKinds() error {
	switch q.Mode {
	case "", "auto", lexical:
	case "vector", "hybrid":
		return permanent("mode %q needs an embedder, and none is configured; use %q or %q", q.Mode, "auto", lexical)
	default:
		return permanent("mode is %q; want %q or %q", q.Mode, "auto", lexical)
	}
	switch q.Answer {
	case "", "none", extractive:
	case "llm":
		return permanent("answer %q needs an endpoint of a language model, and none is configured; use %q or %q", q.Answer, "none", extractive)
	default:
		return permanent("answer is %q; want %q or %q", q.Answer, "none", extractive)
	}
	return nil
}

func hits(found []index.Hit, withText bool) []hit {
	all := make([]hit, len(found))
	for i, f := range found {
		all[i] = hit{
			DocID: f.DocID, ChunkID: f.ChunkID, Score: f.Score, Rank: i + 1, Title: f.Title,
			Section: f.Chunk.Section, Start: f.Chunk.Start, End: f.Chunk.End, Metadata: f.Metadata,
		}
		if withText {
			all[i].Text = f.Chunk.Text
		}
	}
	return all
}

// extract answers with the best sentences of the best hits.
func (r *rag) extract(ctx context.Context, q index.Query, found []index.Hit) (*answerResult, error) {
	counts, chunks, err := r.index.Frequencies(ctx, q.Collection, q.Terms)
	if err != nil {
		return nil, err
	}
	weights := make(map[string]float64, len(counts))
	for term, having := range counts {
		weights[term] = answer.Weight(having, chunks)
	}
	found = found[:min(len(found), answerFrom)]
	sources := make([]answer.Source, len(found))
	for i, f := range found {
		sources[i] = answer.Source{Text: f.Chunk.Text, Score: f.Score}
	}
	a := answer.Extract(weights, sources)
	result := &answerResult{Kind: extractive, Text: a.Text, Citations: make([]citation, len(a.Sources))}
	for i, source := range a.Sources {
		result.Citations[i] = citation{N: i + 1, DocID: found[source].DocID, ChunkID: found[source].ChunkID}
	}
	return result, nil
}
