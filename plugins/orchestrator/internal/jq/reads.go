package jq

import (
	"slices"
	"strings"

	"github.com/itchyny/gojq"
)

// readsInput says whether a query may look at `.`. It never says no wrongly; a
// yes may be one too many. It is what lets a batch go on without loading the
// large input of a `for` whose body uses nothing but its variables.
func readsInput(q *gojq.Query) bool {
	switch {
	case q == nil:
		return false
	case len(q.FuncDefs) > 0 || len(q.Imports) > 0:
		return true
	case q.Op == gojq.OpPipe && len(q.Patterns) == 0:
		return readsInput(q.Left) // the right side reads what the left one gives
	case q.Right != nil:
		return readsInput(q.Left) || readsInput(q.Right)
	}
	return termReads(q.Term)
}

func termReads(t *gojq.Term) bool {
	if t == nil || slices.ContainsFunc(t.SuffixList, suffixReads) {
		return true
	}
	switch t.Type {
	case gojq.TermTypeNull, gojq.TermTypeTrue, gojq.TermTypeFalse, gojq.TermTypeNumber:
		return false
	case gojq.TermTypeFunc:
		return !strings.HasPrefix(t.Func.Name, "$")
	case gojq.TermTypeArray:
		return readsInput(t.Array.Query)
	case gojq.TermTypeObject:
		return slices.ContainsFunc(t.Object.KeyVals, memberReads)
	case gojq.TermTypeString:
		return stringReads(t.Str)
	case gojq.TermTypeUnary:
		return termReads(t.Unary.Term)
	case gojq.TermTypeQuery:
		return readsInput(t.Query)
	case gojq.TermTypeIf:
		return ifReads(t.If)
	}
	return true
}

func memberReads(m *gojq.ObjectKeyVal) bool {
	if m.Val == nil {
		return !strings.HasPrefix(m.Key, "$") // {$x} is the variable, {x} is .x
	}
	return stringReads(m.KeyString) || readsInput(m.KeyQuery) || readsInput(m.Val)
}

func suffixReads(s *gojq.Suffix) bool {
	return s.Index != nil && (stringReads(s.Index.Str) || readsInput(s.Index.Start) || readsInput(s.Index.End))
}

func stringReads(s *gojq.String) bool { return s != nil && slices.ContainsFunc(s.Queries, readsInput) }

func ifReads(i *gojq.If) bool {
	if i.Else == nil { // then it is `.`
		return true
	}
	return readsInput(i.Cond) || readsInput(i.Then) || readsInput(i.Else) ||
		slices.ContainsFunc(i.Elif, func(e *gojq.IfElif) bool { return readsInput(e.Cond) || readsInput(e.Then) })
}
