// Package answer makes an answer from the best sentences of the chunks found,
// each with the number of the chunk that it comes from.
package answer

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/fnhost/fnhost/plugins/rag/internal/text"
)

// A Source is a chunk that was found.
type Source struct {
	Text  string
	Score float64 // the better the higher, above 0
}

// An Answer is text with citations: [n] in it is Sources[n-1].
type Answer struct {
	Text    string
	Sources []int // indexes into the sources that were given
}

// Bounds of an answer.
const (
	maxSentences = 3
	minWords     = 4  // fewer are a heading or a piece of code, not an answer
	maxWords     = 80 // more are cut
)

// Extract picks the sentences that have most of what the query asks for, in the
// order of the sources. weights are the terms of the query and how much each
// tells; see [Weight]. An answer with no sentence is empty.
func Extract(weights map[string]float64, sources []Source) Answer {
	candidates := sentences(stems(weights), sources)
	picked := pick(candidates, stems(weights))
	slices.SortFunc(picked, func(a, b sentence) int {
		return cmp.Or(cmp.Compare(a.source, b.source), cmp.Compare(a.start, b.start))
	})
	var a Answer
	var parts []string
	for _, s := range picked {
		n := slices.Index(a.Sources, s.source) + 1
		if n == 0 {
			a.Sources = append(a.Sources, s.source)
			n = len(a.Sources)
		}
		parts = append(parts, s.text+" ["+strconv.Itoa(n)+"]")
	}
	a.Text = strings.Join(parts, " ")
	return a
}

// Weight is how much a term tells that so many of all chunks have: little if all
// do, much if few do. It is the inverse document frequency of BM25.
func Weight(having, all int) float64 {
	return math.Log(1 + (float64(all-having)+0.5)/(float64(having)+0.5))
}

type sentence struct {
	source, start int
	text          string
	terms         []string // stems of the query that it has
	prior         float64  // how good its source is, up to 1
}

// sentences gives every sentence that has a term of the query, each text once.
func sentences(weights map[string]float64, sources []Source) []sentence {
	var all []sentence
	seen := map[string]bool{}
	for i, src := range sources {
		for _, span := range text.Sentences(src.Text) {
			words := strings.Fields(src.Text[span.Start:span.End])
			s := sentence{source: i, start: span.Start, prior: math.Sqrt(src.Score / sources[0].Score)}
			s.terms = matching(words, weights)
			s.text = shorten(words)
			if len(words) >= minWords && len(s.terms) > 0 && !seen[s.text] {
				seen[s.text] = true
				all = append(all, s)
			}
		}
	}
	return all
}

func shorten(words []string) string {
	if len(words) > maxWords {
		return strings.Join(words[:maxWords], " ") + " …"
	}
	return strings.Join(words, " ")
}

func matching(words []string, weights map[string]float64) []string {
	var terms []string
	for _, word := range words {
		for _, w := range strings.FieldsFunc(strings.ToLower(word), notInWord) {
			if s := stem(w); weights[s] > 0 && !slices.Contains(terms, s) {
				terms = append(terms, s)
			}
		}
	}
	return terms
}

func notInWord(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }

// pick takes the best sentence again and again; what it says already counts half
// for the next.
func pick(candidates []sentence, weights map[string]float64) []sentence {
	var picked []sentence
	for len(picked) < maxSentences && len(candidates) > 0 {
		best, top := -1, 0.0
		for i, s := range candidates {
			if v := value(s, weights); v > top {
				best, top = i, v
			}
		}
		if best < 0 {
			break
		}
		for _, t := range candidates[best].terms {
			weights[t] /= 2
		}
		picked = append(picked, candidates[best])
		candidates = slices.Delete(candidates, best, best+1)
	}
	return picked
}

func value(s sentence, weights map[string]float64) float64 {
	sum := 0.0
	for _, t := range s.terms {
		sum += weights[t]
	}
	return sum * s.prior
}

// stems gives the weights by stem, in a map of its own.
func stems(weights map[string]float64) map[string]float64 {
	by := make(map[string]float64, len(weights))
	for t, w := range weights {
		by[stem(t)] = max(by[stem(t)], w)
	}
	return by
}

// stem takes the commonest English endings off a word. It need not agree with
// the index: it only helps to tell which sentence of a chunk was meant.
func stem(w string) string {
	for _, ending := range endings {
		if rest, found := strings.CutSuffix(w, ending); found && len(rest) >= 3 {
			return strings.TrimSuffix(rest, "e")
		}
	}
	return w
}

var endings = []string{"ations", "ation", "ings", "ing", "ments", "ment", "ies", "ied", "ed", "es", "ly", "s", "e", "y"}
