package index_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/plugins/rag/internal/index"
	"github.com/fnhost/fnhost/plugins/rag/internal/text"
)

// goSpecQuestions are questions about the Go specification, each with the
// heading of the section that answers it.
var goSpecQuestions = []struct{ question, section string }{
	{"Which characters may an identifier begin with?", "Identifiers"},
	{"When does the lexer insert a semicolon automatically?", "Semicolons"},
	{"Can a comment start inside a string or rune literal?", "Comments"},
	{"How do I write a number in binary, octal or hexadecimal?", "Integer literals"},
	{"What is the difference between raw and interpreted strings?", "String literals"},
	{"What is the size of an int on a 32-bit platform?", "Numeric types"},
	{"Can the bytes of a string be changed after it was created?", "String types"},
	{"Is the length part of an array's type?", "Array types"},
	{"How are embedded fields promoted to the outer struct?", "Struct types"},
	{"Which key types are not allowed for a map?", "Map types"},
	{"What happens when sending on a nil channel?", "Send statements"},
	{"When does a channel with a buffer block?", "Channel types"},
	{"When are two named types identical?", "Type identity"},
	{"When can a value be assigned to a variable of interface type?", "Assignability"},
	{"What does the method set of a pointer type contain?", "Method sets"},
	{"What makes a name visible to other packages?", "Exported identifiers"},
	{"How does iota count in a list of constants?", "Iota"},
	{"May := redeclare a variable that exists already?", "Short variable declarations"},
	{"What may the receiver of a method be?", "Method declarations"},
	{"What happens when a slice index is out of range?", "Index expressions"},
	{"How does a three-index slice limit the capacity?", "Full slice expressions"},
	{"What does a failed type assertion do at run time?", "Type assertions"},
	{"How is a slice passed to a variadic function with three dots?", "Passing arguments to ... parameters"},
	{"Does integer overflow cause a panic?", "Integer overflow"},
	{"Are slices, maps and functions comparable?", "Comparison operators"},
	{"In which order does range visit the keys of a map?", "For statements with range clause"},
	{"When are the arguments of a deferred call evaluated?", "Defer statements"},
	{"How does select choose if several communications can proceed?", "Select statements"},
	{"How can a function regain control after a panic?", "Handling panics"},
	{"In what order are package-level variables initialized?", "Package initialization"},
}

// TestGoSpecification measures retrieval on text that every machine with Go has.
func TestGoSpecification(t *testing.T) {
	t.Parallel()
	const first, enough = 5, 24
	x := open(t)
	ingestGoSpec(t, x)
	found := 0
	for _, q := range goSpecQuestions {
		hits, err := x.Search(t.Context(), index.Query{Collection: "go", Terms: index.Terms(q.question), Limit: first})
		if err != nil {
			t.Fatal(err)
		}
		sections := make([]string, len(hits))
		for i, h := range hits {
			path := strings.Split(h.Chunk.Section, text.PathSeparator)
			sections[i] = path[len(path)-1]
		}
		if slices.Contains(sections, q.section) {
			found++
		} else {
			t.Logf("missed: %s\n  want %q among %q", q.question, q.section, sections)
		}
	}
	t.Logf("the right section is among the first %d for %d of %d questions", first, found, len(goSpecQuestions))
	if found < enough {
		t.Errorf("the right section is among the first %d for %d questions, want at least %d", first, found, enough)
	}
}

func ingestGoSpec(t *testing.T, x *index.Index) {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("finding the Go specification: %v", err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "doc", "go_spec.html"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := text.Load(text.HTML, data)
	if err != nil {
		t.Fatal(err)
	}
	chunks := text.Chunker{Size: 256, Overlap: 32}.Split(doc)
	if _, err := x.Put(t.Context(), index.Document{Collection: "go", ID: "spec", Header: index.Header{Metadata: "{}"}, Chunks: chunks}); err != nil {
		t.Fatal(err)
	}
}
