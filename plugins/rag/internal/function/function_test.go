package function_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/plugins/rag/internal/function"
	"github.com/fnhost/fnhost/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type object = map[string]any

func start(t *testing.T, opts ...sdktest.HarnessOption) *sdktest.Harness {
	t.Helper()
	return sdktest.New(t, function.New("test"), opts...)
}

// call has a message done and gives its result.
func call(t *testing.T, h *sdktest.Harness, messageType string, data object) object {
	t.Helper()
	var result object
	r := h.Deliver("", sdktest.JSON(data), sdktest.Type(messageType), sdktest.ID("m1")).RequireDone(t)
	if err := r.JSON(&result); err != nil {
		t.Fatal(err)
	}
	return result
}

// want compares some fields of a result.
func want(t *testing.T, result object, fields object) {
	t.Helper()
	for name, value := range fields {
		if fmt.Sprint(result[name]) != fmt.Sprint(value) {
			t.Errorf("%s is %v, want %v (in %v)", name, result[name], value, result)
		}
	}
}

func hits(result object) []object {
	var all []object
	for _, h := range result["hits"].([]any) {
		all = append(all, h.(object))
	}
	return all
}

const gophers = "# Gophers\n\n## Food\n\nGophers eat roots and bulbs.\n\n## Homes\n\nGophers dig long tunnels.\n"

func TestIngestAndQuery(t *testing.T) {
	t.Parallel()
	h := start(t)
	result := call(t, h, "rag.ingest", object{"doc_id": "g", "text": gophers, "media_type": "text/markdown", "metadata": object{"lang": "en"}})
	want(t, result, object{"doc_id": "g", "changed": true, "chunks": 2, "bytes": len(gophers), "embedded": false, "cached": false})
	if result["tokens"].(float64) <= 0 || len(result["content_hash"].(string)) != 64 {
		t.Errorf("result %v", result)
	}

	found := call(t, h, "rag.query", object{"query": "What do gophers eat?", "filter": object{"lang": "en"}})
	want(t, found, object{"query_id": "m1", "mode": "lexical", "answer": nil})
	if n := len(hits(found)); n != 1 {
		t.Fatalf("%d hits, want one for the document", n)
	}
	best := hits(found)[0]
	want(t, best, object{"doc_id": "g", "chunk_id": "g#0000", "rank": 1, "title": "Gophers", "section": "Gophers > Food", "metadata": object{"lang": "en"}})
	if at := gophers[int(best["start"].(float64)):int(best["end"].(float64))]; at != best["text"] {
		t.Errorf("the text is %q, and at its offsets stands %q", best["text"], at)
	}

	byChunk := call(t, h, "rag.query", object{"query": "gophers", "group": "chunk", "query_id": "q", "hit_text": false})
	want(t, byChunk, object{"query_id": "q"})
	if len(hits(byChunk)) != 2 || hits(byChunk)[0]["text"] != nil {
		t.Errorf("hits %v, want both chunks without their text", hits(byChunk))
	}
	if n := len(hits(call(t, h, "rag.query", object{"query": "gophers", "filter": object{"lang": "de"}}))); n != 0 {
		t.Errorf("%d hits in another language, want none", n)
	}
}

func TestExtractiveAnswerCitesItsChunks(t *testing.T) {
	t.Parallel()
	h := start(t)
	call(t, h, "rag.ingest", object{"doc_id": "g", "text": gophers, "media_type": "text/markdown"})
	a := call(t, h, "rag.query", object{"query": "What do gophers eat?", "answer": "extractive", "top_k": 1})["answer"].(object)
	want(t, a, object{"kind": "extractive", "text": "Gophers eat roots and bulbs. [1]", "citations": []any{object{"n": 1, "doc_id": "g", "chunk_id": "g#0000"}}})
	none := call(t, h, "rag.query", object{"query": "zebra", "answer": "extractive"})
	want(t, none["answer"].(object), object{"kind": "extractive", "text": "", "citations": []any{}})
}

func TestIngestOfTheSameIsNoChange(t *testing.T) {
	t.Parallel()
	h := start(t)
	first := call(t, h, "rag.ingest", object{"doc_id": "d", "text": "apples"})
	again := call(t, h, "rag.ingest", object{"doc_id": "d", "text": "apples"})
	want(t, again, object{"changed": false, "chunks": first["chunks"], "tokens": first["tokens"], "content_hash": first["content_hash"]})
	for _, change := range []object{
		{"text": "pears"}, {"text": "pears", "title": "T"}, {"text": "pears", "title": "T", "metadata": object{"a": 1}},
		{"text": "pears", "title": "T", "metadata": object{"a": 1}, "chunking": object{"size": 64}},
		{"text": "pears", "title": "T", "metadata": object{"a": 1}, "chunking": object{"size": 64}, "media_type": "text/markdown"},
		{"text": "pears", "media_type": "text/markdown"},
	} {
		change["doc_id"] = "d"
		want(t, call(t, h, "rag.ingest", change), object{"changed": true})
		want(t, call(t, h, "rag.ingest", change), object{"changed": false})
	}
	want(t, call(t, h, "rag.stats", object{}), object{"documents": 1, "chunks": 1, "terms": 1, "embedder": "none"})
}

func TestDocIDIsTheContentHashUnlessGiven(t *testing.T) {
	t.Parallel()
	h := start(t)
	result := call(t, h, "rag.ingest", object{"text": "apples"})
	want(t, result, object{"doc_id": result["content_hash"], "changed": true})
	want(t, call(t, h, "rag.ingest", object{"content_base64": "YXBwbGVz"}), object{"doc_id": result["doc_id"], "changed": false})
}

func TestEmptyDocument(t *testing.T) {
	t.Parallel()
	h := start(t)
	want(t, call(t, h, "rag.ingest", object{"doc_id": "e", "text": ""}), object{"changed": true, "chunks": 0, "tokens": 0, "bytes": 0})
	want(t, call(t, h, "rag.stats", object{}), object{"documents": 1, "chunks": 0})
}

func TestDelete(t *testing.T) {
	t.Parallel()
	h := start(t)
	call(t, h, "rag.ingest", object{"collection": "c", "doc_id": "d", "text": "apples"})
	want(t, call(t, h, "rag.delete", object{"doc_id": "d"}), object{"deleted_chunks": 0})
	want(t, call(t, h, "rag.delete", object{"collection": "c", "doc_id": "d"}), object{"deleted_chunks": 1})
	if h.Cache("chunks:d") != nil {
		t.Error("the deleted document's chunks are still cached")
	}
	if n := len(hits(call(t, h, "rag.query", object{"collection": "c", "query": "apples"}))); n != 0 {
		t.Errorf("%d hits after the delete", n)
	}
}

func TestCachedChunksAreUsed(t *testing.T) {
	t.Parallel()
	h := start(t)
	html := object{"doc_id": "d", "text": "<title>Fruit</title><h1>Apples</h1><p>They grow.", "media_type": "text/html"}
	want(t, call(t, h, "rag.ingest", html), object{"cached": false})
	if fields := h.Cache("chunks:d"); len(fields) != 2 || !strings.Contains(fields["0000"], "They grow.") {
		t.Fatalf("cached %v, want _meta and one chunk", fields)
	}
	html["collection"] = "other" // not indexed there yet
	want(t, call(t, h, "rag.ingest", html), object{"changed": true, "cached": true, "chunks": 1})
	for _, collection := range []string{"default", "other"} {
		best := hits(call(t, h, "rag.query", object{"collection": collection, "query": "grow"}))[0]
		want(t, best, object{"title": "Fruit", "section": "Apples", "text": "Apples\n\nThey grow.", "start": 0, "end": 18})
	}
	html["text"] = "<p>Others."
	want(t, call(t, h, "rag.ingest", html), object{"changed": true, "cached": false})
	html["collection"], html["chunking"] = "third", object{"size": 32}
	want(t, call(t, h, "rag.ingest", html), object{"cached": false})
}

func TestCacheIsOffOrTooSmall(t *testing.T) {
	t.Parallel()
	off := start(t, sdktest.Settings(object{"cache_ttl": "0s"}))
	call(t, off, "rag.ingest", object{"doc_id": "d", "text": "apples"})
	if off.Cache("chunks:d") != nil {
		t.Error("chunks are cached with cache_ttl 0s")
	}
	h := start(t)
	large := strings.Repeat(strings.Repeat("<", 2000)+"\n\n", 400) // six bytes each in JSON, and no words to index
	want(t, call(t, h, "rag.ingest", object{"doc_id": "d", "text": large}), object{"changed": true})
	if h.Cache("chunks:d") != nil {
		t.Error("chunks of more than 4 MiB are cached")
	}
}

func TestIngestOfAFile(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "a b.md"), gophers)
	h := start(t, sdktest.Settings(object{"roots": []string{root}}))
	want(t, call(t, h, "rag.ingest", object{"doc_id": "f", "uri": "file://" + root + "/a%20b.md"}), object{"changed": true, "chunks": 2})
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestConcurrentIngest(t *testing.T) {
	t.Parallel()
	const documents = 100
	h := start(t, sdktest.Concurrency(64))
	var wg sync.WaitGroup
	for i := range documents {
		wg.Go(func() {
			h.Deliver("", sdktest.JSON(object{"doc_id": fmt.Sprint(i), "text": fmt.Sprintf("Apple number n%d.", i)}), sdktest.Type("rag.ingest")).RequireDone(t)
		})
	}
	wg.Wait()
	want(t, call(t, h, "rag.stats", object{}), object{"documents": documents, "chunks": documents})
	want(t, hits(call(t, h, "rag.query", object{"query": "n42"}))[0], object{"doc_id": "42"})
}
