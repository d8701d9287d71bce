// Package text turns a document's bytes into text with sections, and the text
// into chunks small enough to rank and to read. It is pure: no files, no clock.
package text

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
)

// The media types that [Load] reads.
const (
	Plain    = "text/plain"
	Markdown = "text/markdown"
	HTML     = "text/html"
)

// Version names what this package makes of a document. It rises when a change
// of loading or splitting gives other chunks for the same bytes, so that stored
// chunks of an older version are made again.
const Version = 1

// A Document is what was read: its text, and where the parts of it are.
type Document struct {
	Title  string // as the document itself gives it, or ""
	Text   string // UTF-8; the source itself for text and Markdown, the visible text for HTML
	Blocks []Block
}

// A Block is a paragraph, a list item, a heading or the like: Text[Start:End].
// Blocks are in the order of the text and do not overlap.
type Block struct {
	Section    string // the headings above it, outermost first, joined by [PathSeparator]
	Start, End int    // in bytes
	Heading    bool   // it is the last heading of Section
	Lines      bool   // its lines stand for themselves, as in code or a table
}

// PathSeparator is between the headings of a section.
const PathSeparator = " > "

// Load reads a document. data is decoded by its byte order mark, by what an HTML
// page declares, or as UTF-8, and as Windows-1252 when it is none of these.
// An empty document is legal and has no blocks.
func Load(mediaType string, data []byte) (Document, error) {
	src, err := decode(mediaType, data)
	if err != nil {
		return Document{}, err
	}
	switch mediaType {
	case Plain:
		return loadPlain(src), nil
	case Markdown:
		return loadMarkdown(src), nil
	case HTML:
		return loadHTML(src)
	}
	return Document{}, unsupported(mediaType)
}

func decode(mediaType string, data []byte) (string, error) {
	if utf8.Valid(data) {
		return strings.TrimPrefix(string(data), "\ufeff"), nil
	}
	r, err := charset.NewReader(bytes.NewReader(data), mediaType)
	if err != nil {
		return "", fmt.Errorf("decoding the document: %w", err)
	}
	decoded, err := io.ReadAll(r)
	if err != nil {
		return "", fmt.Errorf("decoding the document: %w", err)
	}
	return strings.ToValidUTF8(strings.TrimPrefix(string(decoded), "\ufeff"), "\ufffd"), nil
}

// MediaType gives the type to read a document as: the declared one, or else by
// the extension of its name, or else by its first bytes. A type that [Load] does
// not read is an error.
func MediaType(declared, name string, data []byte) (string, error) {
	if declared != "" {
		return parseMediaType(declared)
	}
	if t, ok := byExtension[strings.ToLower(path.Ext(name))]; ok {
		return t, nil
	}
	return sniff(data)
}

// sniff tells HTML from other text, and text from what is none. A text that
// begins like a bitmap or a font (BM, LP: two letters are enough) is still text.
func sniff(data []byte) (string, error) {
	looks := http.DetectContentType(data)
	isText := utf8.Valid(data) && !bytes.ContainsRune(data, 0) && looks != "application/pdf"
	if isText && !strings.HasPrefix(looks, HTML) {
		return Plain, nil
	}
	return parseMediaType(looks)
}

var byExtension = map[string]string{
	".txt": Plain, ".text": Plain,
	".md": Markdown, ".markdown": Markdown,
	".html": HTML, ".htm": HTML, ".xhtml": HTML,
}

func parseMediaType(s string) (string, error) {
	t, _, err := mime.ParseMediaType(s)
	if err != nil {
		return "", fmt.Errorf("media type %q: %w", s, err)
	}
	if !slices.Contains([]string{Plain, Markdown, HTML}, t) {
		return "", unsupported(t)
	}
	return t, nil
}

func unsupported(mediaType string) error {
	return fmt.Errorf("media type %q is not supported: send %s, %s or %s", mediaType, Plain, Markdown, HTML)
}

// headings is the path of headings at a place of a document.
type headings struct {
	levels []int
	titles []string
}

// enter goes below a heading of a level from 1 (outermost) up.
func (h *headings) enter(level int, title string) {
	for len(h.levels) > 0 && h.levels[len(h.levels)-1] >= level {
		h.levels = h.levels[:len(h.levels)-1]
		h.titles = h.titles[:len(h.titles)-1]
	}
	h.levels = append(h.levels, level)
	h.titles = append(h.titles, title)
}

func (h *headings) path() string { return strings.Join(h.titles, PathSeparator) }
