package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Span is a part of a text, in bytes.
type Span struct{ Start, End int }

// Sentences gives the sentences of a text, without the space between them. A
// blank line ends a sentence too.
func Sentences(s string) []Span {
	var spans []Span
	start := 0
	for _, stop := range sentenceEnds(s) {
		if a, b := trim(s, start, stop); a < b {
			spans = append(spans, Span{a, b})
		}
		start = stop
	}
	return spans
}

// sentenceEnds gives the places after each sentence, the last being len(s).
func sentenceEnds(s string) []int {
	var ends []int
	for at, r := range s {
		switch {
		case isWideStop(r):
			ends = append(ends, at+utf8.RuneLen(r))
		case strings.ContainsRune(".!?", r) && endsSentence(s, at):
			ends = append(ends, at+1+closing(s[at+1:]))
		case r == '\n' && blankLine(s[at+1:]):
			ends = append(ends, at+1)
		}
	}
	if len(ends) == 0 || ends[len(ends)-1] < len(s) {
		ends = append(ends, len(s))
	}
	return ends
}

func isWideStop(r rune) bool { return r == '。' || r == '！' || r == '？' }

// endsSentence tells a full stop from that of an abbreviation or a number: white
// space follows, then no lower-case letter, and no known abbreviation precedes.
func endsSentence(s string, at int) bool {
	rest := s[at+1:]
	rest = rest[closing(rest):]
	trimmed := strings.TrimLeftFunc(rest, unicode.IsSpace)
	if trimmed == "" {
		return true
	}
	if len(trimmed) == len(rest) {
		return false
	}
	next, _ := utf8.DecodeRuneInString(trimmed)
	return !unicode.IsLower(next) && !(s[at] == '.' && abbreviated(s[:at]))
}

// abbreviated says whether a text ends in a word that usually keeps its full stop
// inside a sentence, or in a single letter as in a person's initials.
func abbreviated(s string) bool {
	word := s
	if i := strings.LastIndexFunc(s, beforeWord); i >= 0 {
		_, width := utf8.DecodeRuneInString(s[i:])
		word = s[i+width:]
	}
	if r, n := utf8.DecodeRuneInString(word); n == len(word) && unicode.IsUpper(r) {
		return true
	}
	return abbreviations[strings.ToLower(word)]
}

func beforeWord(r rune) bool { return r == '(' || unicode.IsSpace(r) }

var abbreviations = map[string]bool{
	"dr": true, "mr": true, "mrs": true, "ms": true, "prof": true, "st": true, "e.g": true, "i.e": true, "vs": true,
	"cf": true, "fig": true, "figs": true, "eq": true, "no": true, "vol": true, "pp": true, "al": true, "approx": true,
}

// closing counts the bytes of quotes and brackets that belong to the sentence
// before them.
func closing(s string) int { return len(s) - len(strings.TrimLeft(s, `"')]`+"”’»")) }

func blankLine(s string) bool {
	line, _, found := strings.Cut(s, "\n")
	return found && strings.TrimSpace(line) == ""
}
