package text

import (
	"fmt"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Chunk is a part of a document that is ranked and shown by itself.
type Chunk struct {
	Section    string // the headings above it; see [Block]
	Text       string // Document.Text[Start:End]
	Start, End int    // in bytes
	Tokens     int    // estimated; see [Tokens]
}

// A Chunker cuts documents into chunks, in tokens as [Tokens] estimates them.
type Chunker struct {
	Size    int // to aim at; what is left of a section stays whole up to twice as much
	Overlap int // how much of a chunk its successor in the section repeats, at most
}

// Limits of [Chunker.Size]; the overlap is at most half of the size.
const (
	MinSize = 16
	MaxSize = 4096
)

// Check says what is wrong with the sizes.
func (c Chunker) Check() error {
	if c.Size < MinSize || c.Size > MaxSize {
		return fmt.Errorf("size %d is not between %d and %d tokens", c.Size, MinSize, MaxSize)
	}
	if c.Overlap < 0 || c.Overlap > c.Size/2 {
		return fmt.Errorf("overlap %d is not between 0 and half the size, %d tokens", c.Overlap, c.Size/2)
	}
	return nil
}

// Identity names the chunker and the version of this package for a media type:
// equal bytes under an equal identity give equal chunks.
func (c Chunker) Identity(mediaType string) string {
	return fmt.Sprintf("%d:%s:%d:%d", Version, mediaType, c.Size, c.Overlap)
}

// Split cuts a document. A chunk never crosses into another section; within one
// it ends at a paragraph if it can, else at a sentence (in code at a line), and
// only inside a sentence that is longer than a chunk may be. A heading with
// nothing below it but deeper headings goes with the first of these.
func (c Chunker) Split(d Document) []Chunk {
	var chunks []Chunk
	for section := range sections(d.Blocks) {
		parts := c.parts(d.Text, section)
		for start := 0; start < len(parts); {
			end := c.cut(parts, start)
			chunks = append(chunks, newChunk(d.Text, section[len(section)-1].Section, parts[start], parts[end-1]))
			if end == len(parts) {
				break
			}
			start = c.stepBack(parts, start, end)
		}
	}
	return chunks
}

func newChunk(text, section string, first, last part) Chunk {
	s := text[first.start:last.end]
	return Chunk{Section: section, Text: s, Start: first.start, End: last.end, Tokens: Tokens(s)}
}

// sections gives the runs of blocks below one heading each.
func sections(blocks []Block) iter.Seq[[]Block] {
	return func(yield func([]Block) bool) {
		start := 0
		for i := 1; i <= len(blocks); i++ {
			if i < len(blocks) && !begins(blocks[start:i], blocks[i]) {
				continue
			}
			if !yield(blocks[start:i]) {
				return
			}
			start = i
		}
	}
}

// begins says whether a block begins a section of its own after those before it.
func begins(before []Block, b Block) bool {
	last := before[len(before)-1]
	bare := before[0].Heading && last.Heading
	deeper := strings.HasPrefix(b.Section, last.Section+PathSeparator)
	return (b.Heading || b.Section != last.Section) && !(bare && deeper)
}

// A part is the least that is kept together: a sentence, a line of code, or a
// piece of one that is too long.
type part struct {
	start, end int
	words      int
	endsBlock  bool
}

func (c Chunker) parts(text string, section []Block) []part {
	var parts []part
	for _, b := range section {
		for _, s := range pieces(text, b) {
			parts = c.appendPart(parts, text, s)
		}
		if len(parts) > 0 {
			parts[len(parts)-1].endsBlock = true
		}
	}
	return parts
}

func pieces(text string, b Block) []Span {
	if b.Lines {
		return lines(text, b)
	}
	spans := Sentences(text[b.Start:b.End])
	for i := range spans {
		spans[i].Start += b.Start
		spans[i].End += b.Start
	}
	return spans
}

func lines(text string, b Block) []Span {
	var spans []Span
	for at := b.Start; at < b.End; {
		next := lineEnd(text, at, b.End)
		if strings.TrimSpace(text[at:next]) != "" {
			spans = append(spans, Span{at, next - trailing(text[at:next])})
		}
		at = next
	}
	return spans
}

func trailing(s string) int { return len(s) - len(strings.TrimRightFunc(s, unicode.IsSpace)) }

// appendPart adds a piece, cut into several when it alone exceeds the maximum.
func (c Chunker) appendPart(parts []part, text string, s Span) []part {
	n := words(text[s.Start:s.End])
	if n <= toWords(2*c.Size) {
		return append(parts, part{start: s.Start, end: s.End, words: n})
	}
	limit := toWords(c.Size)
	start, count, end := -1, 0, 0
	for w := range wordSpans(text[s.Start:s.End]) {
		if count == limit {
			parts = append(parts, part{start: start, end: end, words: count})
			start, count = -1, 0
		}
		if start < 0 {
			start = s.Start + w.Start
		}
		end = s.Start + w.End
		count++
	}
	return append(parts, part{start: start, end: end, words: count})
}

// cut gives the part after the last one of a chunk that begins at start.
func (c Chunker) cut(parts []part, start int) int {
	size, whole := toWords(c.Size), toWords(2*c.Size)
	end, n := start, 0
	paragraph := 0 // where the last paragraph that makes half a chunk ends
	for end < len(parts) && n+parts[end].words <= size {
		n += parts[end].words
		end++
		if parts[end-1].endsBlock && n >= size/2 {
			paragraph = end
		}
	}
	if n+wordsOf(parts[end:], whole-n) <= whole {
		return len(parts)
	}
	if paragraph > 0 {
		return paragraph
	}
	return max(end, start+1)
}

// wordsOf counts the words of parts, and stops when they are more than enough.
func wordsOf(parts []part, enough int) int {
	n := 0
	for _, p := range parts {
		if n += p.words; n > enough {
			break
		}
	}
	return n
}

// stepBack gives the part where the next chunk begins: at the end of this one,
// or as far before it as the overlap allows.
func (c Chunker) stepBack(parts []part, start, end int) int {
	n := 0
	for end-1 > start {
		if n += parts[end-1].words; n > toWords(c.Overlap) {
			break
		}
		end--
	}
	return end
}

// Tokens estimates the tokens of a text: 1.3 for each word, where a word longer
// than 16 bytes (or one of a script without spaces) counts once for each 16.
func Tokens(s string) int { return (words(s)*13 + 9) / 10 }

func toWords(tokens int) int { return tokens * 10 / 13 }

func words(s string) int {
	n := 0
	for range wordSpans(s) {
		n++
	}
	return n
}

const longWord = 16

// wordSpans gives the words of a text between white space, long ones in pieces.
func wordSpans(s string) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		for at := 0; at < len(s); {
			at += len(s[at:]) - len(strings.TrimLeftFunc(s[at:], unicode.IsSpace))
			end := at + wordLength(s[at:])
			if at < end && !yield(Span{at, end}) {
				return
			}
			at = end
		}
	}
}

// wordLength is the length of the word, or of a long word's piece, that begins s.
func wordLength(s string) int {
	if i := strings.IndexFunc(s[:min(len(s), longWord+1)], unicode.IsSpace); i >= 0 {
		return i
	}
	if len(s) <= longWord {
		return len(s)
	}
	end := longWord
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	if end == 0 { // cannot be in valid UTF-8
		return longWord
	}
	return end
}
