package function_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/plugins/rag/internal/function"
	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/sdktest"
)

// TestBadInputIsDeadWithAReason sends what no further attempt can mend.
func TestBadInputIsDeadWithAReason(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	outside := t.TempDir()
	write(t, filepath.Join(outside, "secret.txt"), "secret")
	if err := os.Symlink(filepath.Join(outside, "secret.txt"), filepath.Join(root, "link.txt")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "dir.txt"), 0o700); err != nil {
		t.Fatal(err)
	}
	h := start(t, sdktest.Settings(object{"roots": []string{root}}))
	long := strings.Repeat("x", 2000)
	for _, c := range []struct {
		messageType string
		data        object
		reason      string
	}{
		{"rag.ingest", object{}, "0 of text, content_base64 and uri are given"},
		{"rag.ingest", object{"text": "a", "uri": "file:///b"}, "2 of text, content_base64 and uri are given"},
		{"rag.ingest", object{"text": 5}, "text"},
		{"rag.ingest", object{"text": "a", "metadata": "b"}, "metadata"},
		{"rag.ingest", object{"content_base64": "%%"}, "content_base64: illegal base64"},
		{"rag.ingest", object{"content_base64": "JVBERi0xLjQ="}, `media type "application/pdf" is not supported`},
		{"rag.ingest", object{"text": "a", "media_type": "image/png"}, `media type "image/png" is not supported`},
		{"rag.ingest", object{"text": "a", "collection": long}, "collection is 2000 bytes long"},
		{"rag.ingest", object{"text": "a", "collection": "a\nb"}, "control character"},
		{"rag.ingest", object{"text": "a", "doc_id": long}, "doc_id is 2000 bytes long"},
		{"rag.ingest", object{"text": "a", "title": long}, "title is 2000 bytes long"},
		{"rag.ingest", object{"text": "a", "chunking": object{"size": 1}}, "size 1 is not between"},
		{"rag.ingest", object{"text": "a", "chunking": object{"size": 100, "overlap": 80}}, "overlap 80 is not between"},
		{"rag.ingest", object{"uri": "https://example.com/"}, "only file:///absolute/path"},
		{"rag.ingest", object{"uri": "file://elsewhere/a"}, "only file:///absolute/path"},
		{"rag.ingest", object{"uri": "file:///%zz"}, "invalid URL escape"},
		{"rag.ingest", object{"uri": "file://" + root + "/missing.txt"}, "no such file"},
		{"rag.ingest", object{"uri": "file://" + outside + "/secret.txt"}, "not below a directory of the setting roots"},
		{"rag.ingest", object{"uri": "file://" + root + "/../" + filepath.Base(outside) + "/secret.txt"}, "not below"},
		{"rag.ingest", object{"uri": "file://" + root + "/link.txt"}, "not below"},
		{"rag.ingest", object{"uri": "file://" + root + "/dir.txt"}, "not a regular file"},
		{"rag.query", object{}, "no word to search for"},
		{"rag.query", object{"query": "?!"}, "no word to search for"},
		{"rag.query", object{"query": strings.Repeat("x ", 10_000)}, "query is 20000 bytes long"},
		{"rag.query", object{"query": "a", "top_k": 0}, "top_k is 0; want 1 to 1000"},
		{"rag.query", object{"query": "a", "top_k": 1001}, "top_k is 1001"},
		{"rag.query", object{"query": "a", "mode": "hybrid"}, "needs an embedder, and none is configured"},
		{"rag.query", object{"query": "a", "mode": "magic"}, `mode is "magic"`},
		{"rag.query", object{"query": "a", "answer": "llm"}, "none is configured"},
		{"rag.query", object{"query": "a", "answer": "poem"}, `answer is "poem"`},
		{"rag.query", object{"query": "a", "group": "page"}, `group is "page"`},
		{"rag.query", object{"query": "a", "filter": object{"k": []int{1}}}, `filter "k" must be`},
		{"rag.delete", object{}, "doc_id is missing"},
		{"rag.stats", object{"collection": long}, "collection is 2000 bytes long"},
		{"rag.nothing", object{}, "rag.nothing"},
	} {
		r := h.Deliver("", sdktest.JSON(c.data), sdktest.Type(c.messageType)).Require(t, sdktest.Dead)
		if _, message := r.Error(); !strings.Contains(message, c.reason) {
			t.Errorf("%s %.200v: error %q, want %q in it", c.messageType, c.data, message, c.reason)
		}
	}
	want(t, call(t, h, "rag.stats", object{}), object{"documents": 0})
}

func TestURINeedsRoots(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.txt")
	write(t, path, "a")
	r := start(t).Deliver("", sdktest.JSON(object{"uri": "file://" + path}), sdktest.Type("rag.ingest")).Require(t, sdktest.Dead)
	if _, message := r.Error(); !strings.Contains(message, "roots") {
		t.Errorf("error %q, want the setting roots in it", message)
	}
}

func TestBadSettingsAreNamed(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{
		`{"root":["/"]}`:                       "setting root: is unknown; the settings are cache_ttl, chunk_overlap, chunk_size, roots",
		`{"roots":"/"}`:                        `setting roots: "/" is not a list of directories`,
		`{"roots":["relative"]}`:               `setting roots: "relative" is not an absolute path`,
		`{"roots":["/no/such/directory"]}`:     "setting roots: ",
		`{"cache_ttl":5}`:                      "setting cache_ttl: 5 is not a duration",
		`{"cache_ttl":"-1h"}`:                  `setting cache_ttl: "-1h" is not a duration`,
		`{"chunk_size":"big"}`:                 `setting chunk_size: "big" is not a number of tokens`,
		`{"chunk_size":64,"chunk_overlap":40}`: "setting chunk_size, chunk_overlap: overlap 40 is not between",
		`{"cache_ttl":"x","unheard":1}`:        "setting unheard: is unknown",
		`[]`:                                   "the settings are not an object",
	} {
		fn := function.New("test")
		err := fn.Configure(t.Context(), sdk.Settings{JSON: []byte(settings), StateDir: t.TempDir(), Concurrency: 1})
		if setting := new(sdk.SettingError); !errors.As(err, &setting) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", settings, err, want)
		}
		if err := fn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
