package text

import (
	"strings"
	"unicode"
)

// loadPlain takes what stands between blank lines for a paragraph.
func loadPlain(src string) Document {
	doc := Document{Text: src}
	doc.Blocks = paragraphs(src, 0, len(src))
	return doc
}

// paragraphs gives the blocks of src[start:end] between blank lines.
func paragraphs(src string, start, end int) []Block {
	var blocks []Block
	open := -1
	last := start
	for at := start; at < end; {
		next := lineEnd(src, at, end)
		if strings.TrimSpace(src[at:next]) != "" {
			if open < 0 {
				open = at
			}
			last = next
		} else if open >= 0 {
			blocks = appendBlock(blocks, src, Block{Start: open, End: last})
			open = -1
		}
		at = next
	}
	if open >= 0 {
		blocks = appendBlock(blocks, src, Block{Start: open, End: last})
	}
	return blocks
}

// lineEnd is the place after the line at a place, its newline included.
func lineEnd(src string, at, end int) int {
	if i := strings.IndexByte(src[at:end], '\n'); i >= 0 {
		return at + i + 1
	}
	return end
}

// appendBlock adds a block without the space around it, if anything is left.
func appendBlock(blocks []Block, src string, b Block) []Block {
	if b.Start, b.End = trim(src, b.Start, b.End); b.Start < b.End {
		blocks = append(blocks, b)
	}
	return blocks
}

// trim narrows src[start:end] to what is not space at its ends.
func trim(src string, start, end int) (int, int) {
	s := src[start:end]
	start += len(s) - len(strings.TrimLeftFunc(s, unicode.IsSpace))
	end = start + len(strings.TrimSpace(s))
	return start, end
}
