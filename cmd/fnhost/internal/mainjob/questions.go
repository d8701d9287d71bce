package mainjob

// texts are documents that every machine with Go has.
var texts = []struct {
	document
	path string
}{
	{document{ID: "go-spec", Title: "The Go Programming Language Specification", Media: "text/html"}, "doc/go_spec.html"},
	{document{ID: "go-mem", Title: "The Go Memory Model", Media: "text/html"}, "doc/go_mem.html"},
	{document{ID: "opticks", Title: "Isaac Newton: Opticks", Media: "text/plain"}, "src/testdata/Isaac.Newton-Opticks.txt"},
}

// questions are of different kinds: each wants something else of the text.
var questions = []question{
	{"q01", "definition", "What does a rune literal represent?"},
	{"q02", "number", "What is the size in bytes of an int64 or float64 value?"},
	{"q03", "moment", "When is a deferred function executed?"},
	{"q04", "order", "Is the iteration order over maps with range specified?"},
	{"q05", "rule", "Which operators have the highest precedence?"},
	{"q06", "failure", "What does sending to or closing a closed channel cause?"},
	{"q07", "definition", "What is a data race?"},
	{"q08", "reason", "Why is double-checked locking incorrect?"},
	{"q09", "guarantee", "Is a send on a channel synchronized before the completion of the corresponding receive?"},
	{"q10", "comparison", "Do lights which differ in colour differ also in degrees of refrangibility?"},
	{"q11", "method", "How is white light compounded again from the colours that a prism separates?"},
	{"q12", "cause", "What causes the colours of the rainbow in drops of rain?"},
	{"q13", "keywords", "island crystal unusual refraction"},
}
