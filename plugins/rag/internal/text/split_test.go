package text_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fnhost/fnhost/plugins/rag/internal/text"
)

var small = text.Chunker{Size: 16, Overlap: 4} // 12 words, and 3

func load(t *testing.T, mediaType, src string) text.Document {
	t.Helper()
	doc, err := text.Load(mediaType, []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func texts(chunks []text.Chunk) []string {
	all := make([]string, len(chunks))
	for i, c := range chunks {
		all[i] = c.Text
	}
	return all
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestSplitKeepsASmallSectionWhole(t *testing.T) {
	src := "One two three.\n\nFour five six."
	equal(t, texts(small.Split(load(t, text.Plain, src))), []string{src})
}

func TestSplitEndsChunksAtParagraphs(t *testing.T) {
	src := numbered(8) + "\n\n" + numbered(7) + "\n\n" + numbered(11)
	got := texts(text.Chunker{Size: 16}.Split(load(t, text.Plain, src)))
	equal(t, got, []string{numbered(8), numbered(7) + "\n\n" + numbered(11)})
}

func TestSplitEndsChunksAtSentences(t *testing.T) {
	sentence := "Alpha beta gamma delta epsilon."
	src := strings.Join([]string{sentence, sentence, sentence, sentence, sentence, sentence}, " ")
	for _, c := range (text.Chunker{Size: 16}).Split(load(t, text.Plain, src)) {
		if !strings.HasPrefix(c.Text, "Alpha") || !strings.HasSuffix(c.Text, "epsilon.") {
			t.Errorf("chunk %q is not made of whole sentences", c.Text)
		}
	}
}

func TestSplitRepeatsTheOverlap(t *testing.T) {
	src := strings.Repeat("One two three. ", 12)
	chunks := small.Split(load(t, text.Plain, src))
	if len(chunks) < 2 {
		t.Fatalf("%d chunks, want several", len(chunks))
	}
	for i := 1; i < len(chunks); i++ {
		if got := chunks[i-1].End - chunks[i].Start; got != len("One two three.") {
			t.Errorf("chunk %d repeats %d bytes, want one sentence", i, got)
		}
	}
}

func TestSplitCutsSentencesThatAreTooLong(t *testing.T) {
	chunks := small.Split(load(t, text.Plain, numbered(100)))
	for _, c := range chunks {
		if c.Tokens > 2*small.Size {
			t.Errorf("chunk of %d tokens, want at most %d", c.Tokens, 2*small.Size)
		}
	}
	if len(chunks) < 4 {
		t.Errorf("%d chunks of 100 words, want more", len(chunks))
	}
}

func TestSplitCutsTextWithoutSpaces(t *testing.T) {
	chunks := small.Split(load(t, text.Plain, strings.Repeat("東京都", 500)))
	if len(chunks) < 10 {
		t.Errorf("%d chunks of 4500 bytes without a space, want more", len(chunks))
	}
}

func TestSplitNeverCrossesASection(t *testing.T) {
	doc := load(t, text.Markdown, "# A\n\n## B\n\nShort.\n\n## C\n\nShort too.\n\n# D\n")
	var got []string
	for _, c := range small.Split(doc) {
		got = append(got, c.Section+": "+c.Text)
	}
	equal(t, got, []string{"A > B: # A\n\n## B\n\nShort.", "A > C: ## C\n\nShort too.", "D: # D"})
}

func TestSplitOfAnEmptyDocument(t *testing.T) {
	for _, mediaType := range []string{text.Plain, text.Markdown, text.HTML} {
		for _, src := range []string{"", " \n\n\t"} {
			if chunks := small.Split(load(t, mediaType, src)); len(chunks) != 0 {
				t.Errorf("%s %q has the chunks %q, want none", mediaType, src, texts(chunks))
			}
		}
	}
}

func TestCheckNamesTheSizeAtFault(t *testing.T) {
	for _, c := range []text.Chunker{{Size: 15}, {Size: 4097}, {Size: 100, Overlap: 51}, {Size: 100, Overlap: -1}} {
		if c.Check() == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	if err := (text.Chunker{Size: 256, Overlap: 32}).Check(); err != nil {
		t.Error(err)
	}
}

// numbered is one sentence of n words.
func numbered(n int) string {
	words := make([]string, n)
	for i := range words {
		words[i] = fmt.Sprintf("w%d", i)
	}
	return strings.Join(words, " ")
}

// FuzzSplit checks what holds for every document: a chunk's text is what its
// offsets say, chunks are bounded and in order, and no word is lost.
func FuzzSplit(f *testing.F) {
	f.Add(0, "One. Two!\n\nThree (four). Five", 16, 8)
	f.Add(1, "---\ntitle: x\n---\n# A\n\n```go\nfunc f() {}\n```\n\n- a\n- b\n\nSetext\n======\n\n> q\n\n    code\n", 16, 0)
	f.Add(2, "<title>t</title><h1>A</h1><p>b<br>c<pre>\n d\n  e</pre><ul><li>f<li>g</ul><script>x</script>", 16, 4)
	f.Add(0, strings.Repeat("長い文。", 99), 16, 8)
	f.Add(1, "- \n```\n\n```\n***\n1. x\n\n   ```\n   y\n   ```\n", 20, 10)
	f.Add(1, "\r\n# A\r\nb\r\n", 20, 10)
	f.Fuzz(func(t *testing.T, kind int, src string, size, overlap int) {
		mediaType := []string{text.Plain, text.Markdown, text.HTML}[uint(kind)%3]
		chunker := text.Chunker{Size: size, Overlap: overlap}
		doc, err := text.Load(mediaType, []byte(src))
		if err != nil || chunker.Check() != nil {
			t.Skip()
		}
		checkChunks(t, doc, chunker)
	})
}

func checkChunks(t *testing.T, doc text.Document, chunker text.Chunker) {
	t.Helper()
	if !utf8.ValidString(doc.Text) {
		t.Fatalf("the text %q is not UTF-8", doc.Text)
	}
	covered, last := make([]bool, len(doc.Text)), -1
	for _, c := range chunker.Split(doc) {
		if c.Text != doc.Text[c.Start:c.End] || strings.TrimSpace(c.Text) == "" {
			t.Fatalf("chunk %q at %d:%d of %q", c.Text, c.Start, c.End, doc.Text)
		}
		if !utf8.ValidString(c.Text) {
			t.Fatalf("chunk %q cuts a character", c.Text)
		}
		if c.Start <= last || c.Tokens > 2*chunker.Size+2 {
			t.Fatalf("chunk at %d after one at %d, of %d tokens with size %d", c.Start, last, c.Tokens, chunker.Size)
		}
		last = c.Start
		for i := c.Start; i < c.End; i++ {
			covered[i] = true
		}
	}
	for _, b := range doc.Blocks {
		for i := b.Start; i < b.End; i++ {
			if !covered[i] && strings.TrimSpace(doc.Text[i:i+1]) != "" {
				t.Fatalf("byte %d of %q is in no chunk", i, doc.Text)
			}
		}
	}
}
