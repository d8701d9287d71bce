package index

import (
	"strings"
	"unicode"
)

// Terms gives the words of a query that can rank: in lower case, each once,
// without the words that are in every text, unless the query has no others.
func Terms(query string) []string {
	words := strings.FieldsFunc(strings.ToLower(query), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) })
	seen := map[string]bool{}
	var terms, common []string
	for _, w := range words {
		switch {
		case seen[w]:
		case stopWords[w]:
			common = append(common, w)
		default:
			terms = append(terms, w)
		}
		seen[w] = true
	}
	if len(terms) == 0 {
		return common
	}
	return terms
}

// stopWords are Lucene's for English.
var stopWords = func() map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(`a an and are as at be but by for if in into is it no not of on or such that the
		their then there these they this to was will with`) {
		set[w] = true
	}
	return set
}()
