package text_test

import (
	"strings"
	"testing"

	"github.com/fnhost/fnhost/plugins/rag/internal/text"
)

// outline shows the blocks of a document, each as `section | text`.
func outline(doc text.Document) []string {
	var all []string
	for _, b := range doc.Blocks {
		all = append(all, b.Section+" | "+doc.Text[b.Start:b.End])
	}
	return all
}

func TestLoadHTML(t *testing.T) {
	doc := load(t, text.HTML, `<!doctype html><html><head><title> The
		Page </title><style>p{}</style></head><body><nav><a href="/">Home</a></nav>
		<h1>Top</h1><p>One <b>bold</b>
		word.</p><script>alert(1)</script><h2 id="x">Sub <code>x</code></h2>
		<pre>func f() {
	return
}</pre><ul><li>first<li>second</ul><table><tr><td>a</td><td>b</td></tr></table>
		<div hidden>secret</div><h2>Last</h2><p>End.<footer>legal</footer></body></html>`)
	if doc.Title != "The Page" {
		t.Errorf("title %q", doc.Title)
	}
	equal(t, outline(doc), []string{
		"Top | Top", "Top | One bold word.", "Top > Sub x | Sub x", "Top > Sub x | func f() {\n\treturn\n}",
		"Top > Sub x | first", "Top > Sub x | second", "Top > Sub x | a b", "Top > Last | Last", "Top > Last | End.",
	})
}

func TestLoadHTMLPrefersTheMainElement(t *testing.T) {
	doc := load(t, text.HTML, `<body><div>menu</div><main><h1>Head</h1>body</main><div>adverts</div>`)
	equal(t, outline(doc), []string{"Head | Head", "Head | body"})
	if doc.Title != "Head" {
		t.Errorf("title %q, want the first heading", doc.Title)
	}
}

func TestLoadMarkdown(t *testing.T) {
	doc := load(t, text.Markdown, strings.Join([]string{
		"---", "title: From matter", "---", "Intro.", "", "# Top *one*", "", "Text with `code`.", "",
		"## Sub", "", "```go", "# not a heading", "```", "", "- first", "- second", "", "Other", "-----", "", "> quoted", "",
	}, "\n"))
	if doc.Title != "From matter" {
		t.Errorf("title %q", doc.Title)
	}
	equal(t, outline(doc), []string{
		" | Intro.", "Top one | # Top *one*", "Top one | Text with `code`.", "Top one > Sub | ## Sub",
		"Top one > Sub | ```go\n# not a heading\n```", "Top one > Sub | - first", "Top one > Sub | - second",
		"Top one > Other | Other\n-----", "Top one > Other | > quoted",
	})
}

func TestLoadMarkdownFenceWithoutLanguage(t *testing.T) {
	doc := load(t, text.Markdown, "Before.\n\n```\ncode\n```\n\nAfter.\n")
	equal(t, outline(doc), []string{" | Before.", " | ```\ncode\n```", " | After."})
}

func TestLoadMarkdownTitleIsTheFirstTopHeading(t *testing.T) {
	if doc := load(t, text.Markdown, "## Small\n\n# Big\n"); doc.Title != "Big" {
		t.Errorf("title %q", doc.Title)
	}
}

func TestLoadPlain(t *testing.T) {
	doc := load(t, text.Plain, "\ufeffOne\ntwo\n \n\n  three\r\n\r\nfour")
	equal(t, outline(doc), []string{" | One\ntwo", " | three", " | four"})
}

func TestLoadDecodesOtherEncodings(t *testing.T) {
	if doc := load(t, text.Plain, "caf\xe9"); doc.Text != "café" {
		t.Errorf("Latin-1 text is read as %q", doc.Text)
	}
	if doc := load(t, text.HTML, `<meta charset="koi8-r"><p>`+"\xf0\xd2\xc9"); doc.Text != "При" {
		t.Errorf("an HTML page in KOI8-R is read as %q", doc.Text)
	}
}

func TestMediaType(t *testing.T) {
	for _, c := range []struct{ declared, name, data, want string }{
		{"text/html; charset=utf-8", "a.md", "x", text.HTML},
		{"", "a/README.MD", "<html>", text.Markdown},
		{"", "page.htm", "x", text.HTML},
		{"", "", "<!DOCTYPE html><p>x", text.HTML},
		{"", "", "just words", text.Plain},
		{"", "", "", text.Plain},
		{"", "", "BMP4 is a protein.", text.Plain},
		{"", "", "caf\xe9", text.Plain},
	} {
		if got, err := text.MediaType(c.declared, c.name, []byte(c.data)); got != c.want || err != nil {
			t.Errorf("MediaType(%q, %q, %q) = %q, %v; want %q", c.declared, c.name, c.data, got, err, c.want)
		}
	}
	for declared, data := range map[string]string{"application/pdf": "x", "": "%PDF-1.4", "nonsense; ;": "x", " ": "BM\x00\x01\xff"} {
		if got, err := text.MediaType(strings.TrimSpace(declared), "", []byte(data)); err == nil {
			t.Errorf("MediaType(%q, %q) = %q, want an error", declared, data, got)
		}
	}
}

func TestSentences(t *testing.T) {
	src := `Dr. Smith saw 3.5 mg (e.g. of salt). "Really?" J. Doe asked! See Fig. 2 now.` + "\n\nHeading\n\n終わり。次。"
	var got []string
	for _, s := range text.Sentences(src) {
		got = append(got, src[s.Start:s.End])
	}
	equal(t, got, []string{"Dr. Smith saw 3.5 mg (e.g. of salt).", `"Really?"`, "J. Doe asked!", "See Fig. 2 now.", "Heading", "終わり。", "次。"})
}
