package text

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// loadHTML keeps what a reader of the page would read: no scripts, styles,
// navigation, forms or hidden parts, and only the main element if there is one.
func loadHTML(src string) (Document, error) {
	root, err := html.Parse(strings.NewReader(src))
	if err != nil {
		return Document{}, fmt.Errorf("reading the HTML: %w", err)
	}
	p := page{}
	if t := find(root, atom.Title); t != nil {
		p.doc.Title = collapse(allText(t))
	}
	main := find(root, atom.Main)
	if main == nil {
		main = root
	}
	p.walk(main)
	p.flush()
	p.doc.Text = p.text.String()
	return p.doc, nil
}

// page collects the text of a page, block after block.
type page struct {
	doc    Document
	text   strings.Builder
	path   headings
	inline strings.Builder // of the block that is open
}

func (p *page) walk(n *html.Node) {
	switch {
	case n.Type == html.TextNode:
		p.inline.WriteString(n.Data)
	case n.Type == html.ElementNode && (skipped[n.DataAtom] || hidden(n)):
	case n.Type == html.ElementNode && n.DataAtom == atom.Pre:
		p.flush()
		p.add(strings.Trim(strings.ReplaceAll(allText(n), "\r\n", "\n"), "\n"), Block{Lines: true})
	case n.Type == html.ElementNode && level[n.DataAtom] > 0:
		p.flush()
		p.heading(level[n.DataAtom], collapse(allText(n)))
	case n.Type == html.ElementNode && blocks[n.DataAtom]:
		p.flush()
		p.children(n)
		p.flush()
	default:
		p.children(n)
		p.inline.WriteString(after[n.DataAtom])
	}
}

func (p *page) children(n *html.Node) {
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		p.walk(c)
	}
}

func (p *page) heading(level int, title string) {
	if title == "" {
		return
	}
	p.path.enter(level, title)
	if p.doc.Title == "" && level == 1 {
		p.doc.Title = title
	}
	p.add(title, Block{Heading: true})
}

func (p *page) flush() {
	p.add(collapse(p.inline.String()), Block{})
	p.inline.Reset()
}

func (p *page) add(text string, b Block) {
	if strings.TrimSpace(text) == "" {
		return
	}
	if p.text.Len() > 0 {
		p.text.WriteString("\n\n")
	}
	b.Section = p.path.path()
	b.Start = p.text.Len()
	p.text.WriteString(text)
	b.End = p.text.Len()
	p.doc.Blocks = append(p.doc.Blocks, b)
}

func hidden(n *html.Node) bool {
	for _, a := range n.Attr {
		if a.Key == "hidden" || a.Key == "aria-hidden" && a.Val == "true" {
			return true
		}
	}
	return false
}

// allText is all text below a node, as written.
func allText(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode && !skipped[c.Parent.DataAtom] {
			b.WriteString(c.Data)
		}
	}
	return b.String()
}

func find(n *html.Node, a atom.Atom) *html.Node {
	for c := range n.Descendants() {
		if c.Type == html.ElementNode && c.DataAtom == a && c.Namespace == "" {
			return c
		}
	}
	return nil
}

// collapse makes each run of white space one space, as a browser does.
func collapse(s string) string { return strings.Join(strings.FieldsFunc(s, unicode.IsSpace), " ") }

var (
	skipped = atoms(atom.Head, atom.Script, atom.Style, atom.Noscript, atom.Template, atom.Nav, atom.Svg, atom.Math,
		atom.Iframe, atom.Object, atom.Footer, atom.Button, atom.Select, atom.Textarea)
	blocks = atoms(atom.Address, atom.Article, atom.Aside, atom.Blockquote, atom.Body, atom.Caption, atom.Dd, atom.Details,
		atom.Div, atom.Dl, atom.Dt, atom.Fieldset, atom.Figcaption, atom.Figure, atom.Form, atom.Header, atom.Hgroup, atom.Hr,
		atom.Html, atom.Li, atom.Main, atom.Ol, atom.P, atom.Section, atom.Summary, atom.Table, atom.Tbody, atom.Tfoot,
		atom.Thead, atom.Tr, atom.Ul)
	level = map[atom.Atom]int{atom.H1: 1, atom.H2: 2, atom.H3: 3, atom.H4: 4, atom.H5: 5, atom.H6: 6}
	after = map[atom.Atom]string{atom.Br: " ", atom.Td: " ", atom.Th: " "}
)

func atoms(all ...atom.Atom) map[atom.Atom]bool {
	set := make(map[atom.Atom]bool, len(all))
	for _, a := range all {
		set[a] = true
	}
	return set
}
