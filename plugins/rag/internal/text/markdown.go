package text

import (
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	mdtext "github.com/yuin/goldmark/text"
	"gopkg.in/yaml.v3"
)

// loadMarkdown keeps the source as the text, so that offsets are places in the
// file; the syntax tree says where its blocks and headings are.
func loadMarkdown(src string) Document {
	doc := Document{Text: src}
	title, body := frontMatter(src)
	doc.Title = title
	m := markdown{src: src, offset: body, doc: &doc}
	m.walk(goldmark.DefaultParser().Parse(mdtext.NewReader([]byte(src[body:]))))
	return doc
}

// frontMatter reads the YAML block at the beginning of many Markdown files, and
// gives the place where the Markdown begins.
func frontMatter(src string) (title string, body int) {
	const fence = "---\n"
	if !strings.HasPrefix(src, fence) {
		return "", 0
	}
	length := strings.Index(src[len(fence):], "\n"+fence)
	if length < 0 {
		return "", 0
	}
	var matter struct{ Title string }
	if yaml.Unmarshal([]byte(src[len(fence):len(fence)+length+1]), &matter) != nil {
		return "", 0 // a thematic break, then: ordinary Markdown
	}
	return matter.Title, len(fence) + length + 1 + len(fence)
}

// markdown walks the blocks of a syntax tree. A block runs from its first line
// to the next block's first line, so that its markers (fences, bullets,
// underlines) are part of it.
type markdown struct {
	src    string
	offset int // of the Markdown in src
	doc    *Document
	path   headings
	open   *Block // begun, and not yet ended by the next one
}

func (m *markdown) walk(root ast.Node) {
	for n := root.FirstChild(); n != nil; n = n.NextSibling() {
		if list, ok := n.(*ast.List); ok {
			for item := list.FirstChild(); item != nil; item = item.NextSibling() {
				m.begin(item)
			}
			continue
		}
		m.begin(n)
	}
	m.end(len(m.src))
}

func (m *markdown) begin(n ast.Node) {
	start, ok := m.start(n)
	if !ok {
		return // a thematic break or an empty fence
	}
	m.end(start)
	b := Block{Start: start, Lines: isCode(n)}
	if h, ok := n.(*ast.Heading); ok {
		title := plainText(h, m.src[m.offset:])
		m.path.enter(h.Level, title)
		b.Heading = true
		if m.doc.Title == "" && h.Level == 1 {
			m.doc.Title = title
		}
	}
	b.Section = m.path.path()
	m.open = &b
}

func (m *markdown) end(at int) {
	if m.open == nil {
		return
	}
	m.open.End = at
	m.doc.Blocks = appendBlock(m.doc.Blocks, m.src, *m.open)
	m.open = nil
}

// start is the beginning of the line where a block begins.
func (m *markdown) start(n ast.Node) (int, bool) {
	at, ok := firstByte(n)
	if !ok {
		return 0, false
	}
	start := m.lineStart(m.offset + at)
	if f, ok := n.(*ast.FencedCodeBlock); ok && f.Info == nil && start > m.offset {
		start = m.lineStart(start - 1) // the fence is the line before
	}
	if m.open != nil && start < m.open.Start {
		start = m.open.Start
	}
	return start, true
}

func (m *markdown) lineStart(at int) int {
	return m.offset + strings.LastIndexByte(m.src[m.offset:at], '\n') + 1
}

// firstByte is the offset of the first byte that a block's leaves hold.
func firstByte(n ast.Node) (int, bool) {
	if f, ok := n.(*ast.FencedCodeBlock); ok && f.Info != nil {
		return f.Info.Segment.Start, true
	}
	if n.Type() == ast.TypeInline {
		return 0, false
	}
	if lines := n.Lines(); lines != nil && lines.Len() > 0 {
		return lines.At(0).Start, true
	}
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if at, ok := firstByte(c); ok {
			return at, true
		}
	}
	return 0, false
}

func isCode(n ast.Node) bool {
	return n.Kind() == ast.KindFencedCodeBlock || n.Kind() == ast.KindCodeBlock || n.Kind() == ast.KindHTMLBlock
}

// plainText is a node's text without its marks.
func plainText(n ast.Node, src string) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch t := n.(type) {
		case *ast.Text:
			b.WriteString(src[t.Segment.Start:t.Segment.Stop])
			if t.SoftLineBreak() || t.HardLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.String:
			b.Write(t.Value)
		case *ast.AutoLink:
			b.Write(t.URL([]byte(src)))
		}
		return ast.WalkContinue, nil
	})
	return strings.TrimSpace(b.String())
}
